//! The configuration: what wins over what, every fault in its exact words, and that what is printed loads again.

mod arbitrary;
mod dump;
mod faults;
mod flags;
mod kit;
mod pages;
mod precedence;
