//! `fusemix devices`: the devices that training can use.

use anyhow::Result;
use serde_json::json;

use super::{Cli, print};
use crate::device::{self, AdapterReport, Device, DeviceChoice, adapters};

/// List the devices that training can use, and the one that `--device auto` uses.
#[derive(clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(cli: &Cli, Arguments {}: Arguments) -> Result<u8> {
    let (cpu, adapters) = (device::Cpu::default(), adapters());
    let auto = device::open(DeviceChoice::Auto, false)?;
    let why = match adapters.iter().find(|adapter| adapter.kind != "cpu") {
        Some(_) if auto.describe() != cpu.describe() => "the high-performance GPU",
        Some(_) => "no GPU could be opened",
        None if adapters.is_empty() => "wgpu finds no GPU",
        None => "wgpu finds only software GPUs, which are slower than the CPU",
    };
    if cli.json {
        let cpu = json!({"name": cpu.describe(), "bf16": cpu.has_16_bit(), "memory_bytes": cpu.memory()});
        print::json(&json!({"cpu": cpu, "adapters": adapters, "auto": auto.describe(), "why": why}));
        return Ok(0);
    }
    say!("{}{}", cpu.describe(), if cpu.has_16_bit() { ", bf16 products" } else { "" });
    for adapter in &adapters {
        let AdapterReport { name, backend, kind, driver, max_binding_bytes, workgroup_bytes, subgroup, .. } = adapter;
        let units = adapter.fragment.map_or("none".to_owned(), |side| format!("of {side} x {side}"));
        let memory = adapter.memory_bytes.map_or("unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        say!("{name} ({backend}, {kind}, {driver})");
        let subgroup = subgroup.map_or("none".to_owned(), |[least, most]| {
            if least == most { format!("of {least}") } else { format!("of {least} to {most}") }
        });
        say!(
            "    memory {memory}, binds {} MiB, buffers of {} MiB, {} KiB of workgroup memory, subgroups {subgroup}, \
             f16 {}, matrix units {units}, timestamps {}",
            max_binding_bytes >> 20,
            adapter.max_buffer_bytes >> 20,
            workgroup_bytes >> 10,
            if adapter.f16 { "yes" } else { "no" },
            if adapter.timestamps { "yes" } else { "no" },
        );
    }
    say!("--device auto uses {}: {why}", auto.describe());
    Ok(0)
}
