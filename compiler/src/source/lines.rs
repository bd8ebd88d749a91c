//! Byte offsets to lines and columns.

use crate::diagnostic::LineColumn;

/// Bytes between two entries of [`Lines::characters`].
const STRIDE: usize = 1024;

/// Where lines start, and how many characters stand before each block of the text: a generated definition is often
/// one line of many megabytes, and counting its characters for each position would take quadratic time.
pub(super) struct Lines {
    starts: Vec<u32>,
    characters: Vec<u32>,
}

// === impl Lines ===

impl Lines {
    pub(super) fn of(text: &str) -> Lines {
        let starts = line_starts(text.as_bytes());
        let mut before = 0;
        let characters = text.as_bytes().chunks(STRIDE).map(|block| {
            let after = before + count(block);
            std::mem::replace(&mut before, after)
        });
        Lines { characters: characters.collect(), starts }
    }

    /// Line and column of a byte of `text`, the text that the lines were made of.
    pub(super) fn locate(&self, text: &str, offset: usize) -> LineColumn {
        let line = self.starts.partition_point(|start| *start as usize <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0) as usize;
        let column = self.characters_before(text, offset) - self.characters_before(text, start);
        LineColumn { line: u32::try_from(line).unwrap_or(u32::MAX), column: column + 1 }
    }

    fn characters_before(&self, text: &str, offset: usize) -> u32 {
        let block = offset / STRIDE;
        let Some(before) = self.characters.get(block) else {
            return self.characters.last().map_or(0, |last| {
                last + count(text.as_bytes().get((self.characters.len() - 1) * STRIDE..).unwrap_or_default())
            });
        };
        before + count(text.as_bytes().get(block * STRIDE..offset).unwrap_or_default())
    }
}

fn line_starts(text: &[u8]) -> Vec<u32> {
    let after = |(at, byte): (usize, &u8)| if *byte == b'\n' { u32::try_from(at + 1).ok() } else { None };
    std::iter::once(0).chain(text.iter().enumerate().filter_map(after)).collect()
}

/// Characters that start in `bytes`.
fn count(bytes: &[u8]) -> u32 {
    bytes.iter().map(|byte| u32::from(byte & 0xC0 != 0x80)).sum()
}
