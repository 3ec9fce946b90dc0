//! Black-box tests: the real binary, asked over sockets as its users ask it. One binary for all, since linking it is
//! most of the work; each file is a subject.

mod client;
mod harness;

mod apart;
mod bad_input;
mod bench;
mod browser;
mod commands;
mod commands_of_docs;
mod crash;
mod crash_servers;
mod disk;
mod docs;
mod ingest;
mod openapi;
mod parse;
mod postgres_commands;
mod python;
mod query;
mod redis_trouble;
mod restart;
mod retention;
mod snapshot;
mod startup;
mod tail;
