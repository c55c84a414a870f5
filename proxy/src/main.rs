//! The `ownergate` command.

fn main() {}
