//! The requests over which hit ratios are taken: Zipf, and the traces of a folder.
//!
//! A trace is a file `NAME.trace.xz`: compressed, one big-endian u32 a request, which names the key. Invariant: keys are numbered
//! from zero in the order in which they first come, so that what is kept of a key can lie in an array.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::{BufReader, Read};
use std::path::Path;

use liblzma::read::XzDecoder;
use wtcache_benches::zipf;

const ENDING: &str = ".trace.xz";

/// Requests in their order.
pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) requests: Vec<u32>,
    /// How many different keys there are.
    pub(crate) keys: usize,
}

impl Trace {
    fn new<K: Hash + Eq>(name: String, requests: impl Iterator<Item = K>) -> Self {
        let mut numbers = HashMap::new();
        let requests = requests.map(|key| {
            let next = numbers.len() as u32;
            *numbers.entry(key).or_insert(next)
        });
        let requests = requests.collect();
        Self { name, requests, keys: numbers.len() }
    }

    /// `count` requests for `among` keys, Zipf 0.99.
    pub(crate) fn zipf(among: usize, count: usize) -> Self {
        Self::new("zipf 0.99".to_owned(), zipf(among, 0.99, count, 1).into_iter())
    }

    /// Its first requests.
    fn read(name: String, compressed: impl Read, most: usize) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let mut decoder = XzDecoder::new(compressed).take(most.saturating_mul(4) as u64);
        decoder.read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        let (requests, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(format!("{name}: it ends within a request"));
        }
        Ok(Self::new(name, requests.iter().map(|key| u32::from_be_bytes(*key))))
    }

    /// The traces of `folder`, by name, each to `most` requests.
    pub(crate) fn of_folder(folder: &Path, most: usize) -> Result<Vec<Self>, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        let mut paths: Vec<_> = folder
            .read_dir()
            .map_err(failed)?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        paths.sort();
        let mut traces = Vec::new();
        for path in paths {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(name) = file.strip_suffix(ENDING) else { continue };
            let compressed = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            traces.push(Self::read(name.to_owned(), BufReader::new(compressed), most)?);
        }
        Ok(traces)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use liblzma::write::XzEncoder;

    use super::*;

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn requests_are_numbered_as_they_come() {
        let bytes: Vec<u8> = [9_u32, 70_000, 9, 1].iter().flat_map(|key| key.to_be_bytes()).collect();
        let trace = Trace::read("t".to_owned(), &compressed(&bytes)[..], 100).unwrap();
        assert_eq!((trace.requests, trace.keys), (vec![0, 1, 0, 2], 3));
        let trace = Trace::read("t".to_owned(), &compressed(&bytes)[..], 3).unwrap();
        assert_eq!(trace.requests, [0, 1, 0]);
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        assert!(Trace::read("t".to_owned(), &compressed(&[1, 2, 3, 4, 5])[..], 100).is_err());
        assert!(Trace::read("t".to_owned(), &b"no xz at all"[..], 100).is_err());
    }
}
