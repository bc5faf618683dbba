//! The hash of a closed month: the root of a Merkle tree over its events, as RFC 6962 builds one.
//!
//! A leaf is SHA-256 of `0x00`, the event's source and id (each after its length in four bytes, the most significant first) and
//! its content hash; an inner node is SHA-256 of `0x01` and its two children. Leaves stand in the order of (source, id), byte by
//! byte. The prefixes keep a leaf from passing for a node. Of a tree of any size only one node a level is kept in memory.

use std::ops::Range;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// SHA-256 of something.
pub(crate) type Hash = [u8; 32];

/// Hashes an event for its place in the tree.
pub(crate) fn leaf(source: &str, id: &str, content_hash: &[u8]) -> Hash {
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    let digest = Sha256::new().chain_update([0]).chain_update(length(source)).chain_update(source);
    digest.chain_update(length(id)).chain_update(id).chain_update(content_hash).finalize().into()
}

fn inner(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree to which leaves are added from left to right.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Whole subtrees that wait for a neighbour of their height, the highest first.
    peaks: Vec<(u32, Hash)>,
    pub(crate) size: u64,
}

impl Tree {
    /// Adds the next leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let (mut height, mut node) = (0, leaf);
        while let Some((_, left)) = self.peaks.pop_if(|(other, _)| *other == height) {
            (height, node) = (height + 1, inner(&left, &node));
        }
        self.peaks.push((height, node));
        self.size += 1;
    }

    /// Returns the root; of no leaves it is the hash of nothing.
    pub(crate) fn root(&self) -> Hash {
        let joined = self.peaks.iter().rev().map(|(_, node)| *node).reduce(|right, left| inner(&left, &right));
        joined.unwrap_or_else(|| Sha256::digest([]).into())
    }
}

/// The subtrees beside the way from a leaf to the root, from the leaf on.
fn beside(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut start, mut end) = (0, size);
    let mut found = Vec::new();
    while end - start > 1 {
        let length = end - start;
        // The largest power of two below the length.
        let middle = start + (1 << (u64::BITS - 1 - (length - 1).leading_zeros()));
        if index < middle {
            found.push(middle..end);
            end = middle;
        } else {
            found.push(start..middle);
            start = middle;
        }
    }
    found.reverse();
    found
}

/// Collects the nodes of a proof while leaves go by, from left to right.
#[derive(Debug)]
pub(crate) struct Path {
    parts: Vec<(Range<u64>, Tree)>,
    next: u64,
}

impl Path {
    pub(crate) fn new(index: u64, size: u64) -> Self {
        Self { parts: beside(index, size).into_iter().map(|range| (range, Tree::default())).collect(), next: 0 }
    }

    pub(crate) fn push(&mut self, leaf: Hash) {
        let next = self.next;
        if let Some((_, tree)) = self.parts.iter_mut().find(|(range, _)| range.contains(&next)) {
            tree.push(leaf);
        }
        self.next += 1;
    }

    pub(crate) fn nodes(&self) -> Vec<Hash> {
        self.parts.iter().map(|(_, tree)| tree.root()).collect()
    }
}

/// That an event is one of those that a closed month counted: hash the leaf with the path, and it is the month's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InclusionProof {
    pub source: String,
    pub id: String,
    /// SHA-256 of what the event says, in hexadecimal like every hash here.
    pub content_hash: String,
    /// The event's place among the month's events, from 0.
    pub index: u64,
    /// How many events the month has.
    pub size: u64,
    /// The nodes beside the way, from the leaf to the root.
    pub path: Vec<String>,
    pub root: String,
}

/// Computes the root that a proof leads to; none when it does not fit its own size.
pub(crate) fn root_of(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let ranges = if index < size { beside(index, size) } else { return None };
    (ranges.len() == path.len()).then(|| {
        ranges
            .iter()
            .zip(path)
            .fold(leaf, |node, (range, other)| if range.start > index { inner(&node, other) } else { inner(other, &node) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962, 2.1, word by word.
    fn by_the_book(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                inner(&by_the_book(&leaves[..k]), &by_the_book(&leaves[k..]))
            }
        }
    }

    fn leaves(count: u8) -> Vec<Hash> {
        (0..count).map(|number| leaf("cp", &number.to_string(), &[number; 32])).collect()
    }

    #[test]
    fn the_root_is_that_of_the_rfc_and_every_leaf_is_proved() {
        for count in 0..70 {
            let leaves = leaves(count);
            let mut tree = Tree::default();
            leaves.iter().for_each(|leaf| tree.push(*leaf));
            assert_eq!(tree.root(), by_the_book(&leaves), "{count} leaves");
            assert!(tree.peaks.len() <= 7);
            for index in 0..leaves.len() {
                let size = leaves.len() as u64;
                let mut path = Path::new(index as u64, size);
                leaves.iter().for_each(|leaf| path.push(*leaf));
                assert_eq!(root_of(leaves[index], index as u64, size, &path.nodes()), Some(tree.root()), "{index} of {count}");
                assert_ne!(root_of([7; 32], index as u64, size, &path.nodes()), Some(tree.root()));
            }
        }
        assert_eq!(root_of([0; 32], 3, 3, &[]), None);
    }

    #[test]
    fn the_border_between_source_and_id_counts() {
        assert_ne!(leaf("a", "bc", &[0; 32]), leaf("ab", "c", &[0; 32]));
        // A node does not pass for a leaf.
        assert_ne!(leaf("", "", &[]), inner(&[0; 32], &[0; 32]));
        let empty = Tree::default().root().map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
