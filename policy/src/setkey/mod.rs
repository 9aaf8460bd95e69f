//! setkey scripts: text -> tokens -> statements with typed values.

pub mod algorithm;
pub mod lexer;
pub mod parser;
pub mod statement;

mod policy_text;
mod terminals;
