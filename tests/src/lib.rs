//! End-to-end tests of ownergate and task-service.
