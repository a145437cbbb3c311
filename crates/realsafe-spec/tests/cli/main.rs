//! The command as people call it: messages, exit codes, lists.

mod command;
mod messages;
mod quickstart;
mod specs;
