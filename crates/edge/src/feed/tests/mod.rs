//! What is taken over, what is refused, and what survives on disk.

mod disk;
mod offers;
mod rotation;
