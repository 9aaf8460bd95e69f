//! setkey scripts: text -> tokens -> statements with typed values.

pub mod algorithm;
pub mod feed;
pub mod lexer;
pub mod names;
pub mod parser;
pub mod print;
pub mod statement;
pub mod unworded;

mod dump_text;
mod policy_text;
mod sa_text;
mod terminals;
