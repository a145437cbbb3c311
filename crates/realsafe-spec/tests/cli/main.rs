//! The command as people call it: messages, exit codes, lists.

mod command;
mod messages;
mod plugin;
mod quickstart;
mod specs;
mod verify;
