//! The memory that argon2id fills, kept from one computation to the next and wiped between them.
//!
//! Memory that is taken anew each time stays with the process: an allocator such as glibc's gives every thread its own
//! stock and seldom returns any, and a flood of logins on the blocking threads left it with more than a gigabyte. Here
//! there are never more buffers than computations that ran at once.
//!
//! It doesn't know whose turn it is. Next: `passwords.rs`.

use super::MEMORY_KIB;
use argon2::{Block, Error};
use std::sync::{Arc, Mutex, MutexGuard};
use zeroize::Zeroize;

/// Blocks that a hash of today's cost takes, a KiB each.
const BLOCKS: usize = MEMORY_KIB as usize;

/// The buffers that aren't in use, each of [`BLOCKS`] blocks. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<Vec<Block>>>>);

/// A buffer in use. Dropped, it is wiped and goes back.
pub(super) struct Lent {
    memory: Memory,
    blocks: Vec<Block>,
}

impl Memory {
    /// At least `blocks` blocks, all zero. More than a hash of today's takes (a stored hash may ask for it) is allocated
    /// for this one time.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn lend(&self, blocks: usize) -> Result<Lent, Error> {
        let kept = if blocks <= BLOCKS { self.kept().pop() } else { None };
        let blocks = match kept {
            Some(blocks) => blocks,
            None => allocate(blocks.max(BLOCKS))?,
        };
        Ok(Lent { memory: self.clone(), blocks })
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.0.lock().expect("nothing panics while it takes a buffer or gives one back")
    }

    #[cfg(test)]
    pub(super) fn kept_blocks(&self) -> Vec<Block> {
        self.kept().iter().flatten().copied().collect()
    }
}

impl AsMut<[Block]> for Lent {
    fn as_mut(&mut self) -> &mut [Block] {
        &mut self.blocks
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.blocks.iter_mut().zeroize();
        if self.blocks.len() == BLOCKS {
            self.memory.kept().push(std::mem::take(&mut self.blocks));
        }
    }
}

fn allocate(blocks: usize) -> Result<Vec<Block>, Error> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(blocks).map_err(|_| Error::OutOfMemory)?;
    buffer.resize(blocks, Block::new());
    Ok(buffer)
}
