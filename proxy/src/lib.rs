//! Ownergate.
