//! Black-box tests: the real binary, asked over sockets as its users ask it. One binary for all, since linking it is
//! most of the work; each file is a subject.

mod harness;

mod bad_input;
mod browser;
mod commands;
mod crash;
mod docs;
mod ingest;
mod openapi;
mod parse;
mod python;
mod query;
mod restart;
mod retention;
mod startup;
mod tail;
