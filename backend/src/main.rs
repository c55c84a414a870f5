//! The `task-service` command.

fn main() {}
