//! What the kernel keeps, in the words of `policy::model`.

pub mod limits;
pub mod mark;
pub mod notice;
pub mod policy;
pub mod sa;
pub mod template;
