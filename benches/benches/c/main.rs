//! A hit through the C ABI beside one in Rust, in the same run: one hot key, a value of 256 bytes, its release included on both sides.
//!
//! The program in C is compiled here, against the libraries in the folder that `WTCACHE_ARTIFACTS` names; it and Rust's loop take turns.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use wtcache::{ByteCache, Bytes, LoadCx, Loaded, Record, Source, SourceError};
use wtcache_benches::figures::{machine, middle, sorted, spread};
use wtcache_benches::{Table, VALUE_BYTES, key};

const OPERATIONS: u32 = 4_000_000;
const ROUNDS: usize = 9;
/// What a static library needs of the system beside the C library.
const SYSTEM: [&str; 4] = ["-lpthread", "-ldl", "-lm", "-lgcc_s"];

struct Free;

impl Source<Bytes> for Free {
    fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        Ok(Loaded::Found(Record::new(vec![7; VALUE_BYTES])))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let libraries = std::env::var_os("WTCACHE_ARTIFACTS").map(PathBuf::from);
    let libraries = libraries.ok_or("WTCACHE_ARTIFACTS is to name the folder of libwtcache: see cargo xtask c-hits")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dir = std::env::temp_dir().join(format!("wtcache-c-hits-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    // By the name that programs look for it.
    let soname = dir.join("libwtcache.so.1");
    std::os::unix::fs::symlink(libraries.join("libwtcache.so"), &soname)?;
    let shared = compiled(&root, &dir.join("shared"), |cc| {
        cc.arg(&soname).arg(format!("-Wl,-rpath,{}", dir.display()));
    })?;
    let linked = compiled(&root, &dir.join("static"), |cc| {
        cc.arg(libraries.join("libwtcache.a")).args(SYSTEM);
    })?;

    let cache = ByteCache::builder(Free).capacity(1 << 20).lifetime(Duration::from_secs(300)).build()?;
    let names = ["Rust, get", "C, get, shared", "C, get_into, shared", "C, get, static", "C, get_into, static"];
    let mut times: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        let by_c = [in_c(&shared)?, in_c(&linked)?].concat();
        for (times, time) in times.iter_mut().zip([vec![in_rust(&cache)?], by_c].concat()) {
            times.push(time);
        }
    }
    std::fs::remove_dir_all(&dir)?;

    let mut table = Table::new(["a hit of one hot key, 256 bytes", "ns", "spread", "of Rust's"]);
    let rust = middle(&sorted(times[0].iter().copied()));
    for (name, times) in names.into_iter().zip(times) {
        let times = sorted(times);
        let (ns, wide) = (middle(&times), spread(&times));
        table.rows.push(vec![
            name.into(),
            format!("{ns:.1}"),
            format!("{:.0} %", wide * 100.0),
            format!("{:.2}", ns / rust),
        ]);
    }
    println!("{}\nmedians of {ROUNDS} runs in turn of {OPERATIONS} hits each; {}", table.markdown(), machine());
    Ok(())
}

fn compiled(root: &Path, program: &Path, link: impl FnOnce(&mut Command)) -> Result<PathBuf, Box<dyn Error>> {
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-I"]).arg(root.join("include"));
    cc.arg(root.join("benches/benches/c/hit.c")).arg("-o").arg(program);
    link(&mut cc);
    let status = cc.status()?;
    if status.success() { Ok(program.to_owned()) } else { Err(format!("{cc:?}: {status}").into()) }
}

/// Nanoseconds a hit: pinned, and copied.
fn in_c(program: &Path) -> Result<Vec<f64>, Box<dyn Error>> {
    let output = Command::new(program).arg(OPERATIONS.to_string()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let times: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match times.len() {
        2 => Ok(times),
        _ => Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn in_rust(cache: &ByteCache) -> Result<f64, Box<dyn Error>> {
    let key = key(1);
    let mut nanoseconds = 0.0;
    // As in C, the first time round is to get warm.
    for _ in 0..2 {
        let begun = Instant::now();
        for at in 0..OPERATIONS as usize {
            let entry = cache.get(black_box(&key[..]))?.ok_or("it is there")?;
            black_box(entry[at % VALUE_BYTES]);
        }
        nanoseconds = begun.elapsed().as_secs_f64() * 1e9;
    }
    Ok(nanoseconds / f64::from(OPERATIONS))
}
