//! The MCP door over real HTTP on a loopback listener, in both protocol worlds.

mod access;
mod client;
mod consent;
mod house;
mod journey;
mod refusals;
mod size;
mod slow;
mod toolset;
