//! Redis of one's own while everything around it goes wrong, through the built program and real servers: each strategy on a lone server and on a master with
//! a replica. One table acts on a single chosen command on its way to a server (`line.rs`), another kills keywheel at every effect. What must hold
//! afterwards is asked of the servers themselves, before and after a restart from what they saved.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]
#![allow(clippy::disallowed_methods, reason = "real daemons are waited for by the real clock")]

#[path = "../faults/disk.rs"]
#[allow(dead_code, reason = "only kills are played here, and no power cut")]
mod disk;
#[path = "../common/each_case.rs"]
mod each_case;
#[path = "../faults/machine.rs"]
#[allow(dead_code, reason = "no call is failed here")]
mod machine;
#[path = "../common/record.rs"]
mod record;
#[path = "../common/redis_nodes.rs"]
mod redis_nodes;
#[path = "../common/site.rs"]
mod site;
#[path = "../faults/table.rs"]
mod table;
#[path = "../faults/traced.rs"]
#[allow(dead_code, reason = "nobody is held here")]
mod traced;
#[path = "../faults/tracer.rs"]
#[allow(dead_code, reason = "only kills are played here")]
mod tracer;

mod case;
mod kills;
mod line;
mod row;
mod rows;
mod stage;
mod witness;
