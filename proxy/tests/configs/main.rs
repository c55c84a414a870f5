//! The configuration: what wins over what, every fault in its exact words, and that what is printed loads again.

mod faults;
mod kit;
mod precedence;
