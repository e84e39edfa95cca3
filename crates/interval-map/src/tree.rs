//! The balanced tree: an AVL tree whose nodes also store their neighbours in order and the widest gap below them.
//! (Adelson-Velsky and Landis, "An algorithm for the organization of information"; Cormen et al., "Introduction to
//! Algorithms", on augmenting data structures.) Nothing recurses: a walk descends by the children and ascends by the parents.
use crate::arena::{Arena, NONE, OutOfMemory};

/// Index of the left child and of the neighbour before.
pub(crate) const LEFT: usize = 0;
/// Index of the right child and of the neighbour after.
pub(crate) const RIGHT: usize = 1;

#[derive(Debug)]
pub(crate) struct Node<V> {
    pub start: usize,
    pub end: usize,
    /// The widest gap directly before a node of this subtree.
    pub gap: usize,
    pub child: [u32; 2],
    /// The nodes before and after in order.
    pub near: [u32; 2],
    pub parent: u32,
    height: u32,
    pub value: V,
}

#[derive(Debug)]
pub(crate) struct Tree<V> {
    arena: Arena<Node<V>>,
    pub root: u32,
    /// The first and the last node.
    pub ends: [u32; 2],
    pub len: usize,
    /// The first of the nodes that are detached, which are chained by their right neighbours.
    detached: u32,
}

impl<V> Tree<V> {
    pub const fn new() -> Self {
        Tree { arena: Arena::new(), root: NONE, ends: [NONE; 2], len: 0, detached: NONE }
    }

    #[inline(always)]
    pub fn get(&self, at: u32) -> Option<&Node<V>> {
        self.arena.get(at)
    }

    #[inline(always)]
    pub fn get_mut(&mut self, at: u32) -> Option<&mut Node<V>> {
        self.arena.get_mut(at)
    }

    pub fn child(&self, at: u32, side: usize) -> u32 {
        self.get(at).map_or(NONE, |node| node.child[side])
    }

    pub fn near(&self, at: u32, side: usize) -> u32 {
        self.get(at).map_or(NONE, |node| node.near[side])
    }

    pub fn parent(&self, at: u32) -> u32 {
        self.get(at).map_or(NONE, |node| node.parent)
    }

    fn height(&self, at: u32) -> u32 {
        self.get(at).map_or(0, |node| node.height)
    }

    /// The widest gap below `at`.
    pub fn widest(&self, at: u32) -> usize {
        self.get(at).map_or(0, |node| node.gap)
    }

    /// The gap directly before `at`.
    pub fn own_gap(&self, at: u32) -> usize {
        let Some(node) = self.get(at) else { return 0 };
        node.start - self.get(node.near[LEFT]).map_or(0, |before| before.end)
    }

    /// Adds a node between `before` and the node after it; `NONE` is the edge.
    pub fn insert_after(
        &mut self,
        before: u32,
        start: usize,
        end: usize,
        value: V,
    ) -> Result<u32, OutOfMemory> {
        let after = if before == NONE { self.ends[LEFT] } else { self.near(before, RIGHT) };
        // One of the two neighbours has no child towards the other.
        let (parent, side) =
            if self.child(before, RIGHT) == NONE && before != NONE { (before, RIGHT) } else { (after, LEFT) };
        let near = [before, after];
        let node = Node { start, end, gap: 0, child: [NONE; 2], near, parent, height: 0, value };
        let at = self.arena.add(node)?;
        match self.get_mut(parent) {
            Some(parent) => parent.child[side] = at,
            None => self.root = at,
        }
        self.set_near(before, RIGHT, at);
        self.set_near(after, LEFT, at);
        self.len += 1;
        self.repair(at);
        self.repair(after);
        Ok(at)
    }

    /// Removes a node and returns its value.
    pub fn remove(&mut self, at: u32) -> Option<V> {
        self.unlink(at);
        self.arena.free(at).map(|node| node.value)
    }

    /// Takes a node out of the order, and keeps it among the detached.
    pub fn detach(&mut self, at: u32) {
        self.unlink(at);
        let others = self.detached;
        if let Some(node) = self.get_mut(at) {
            node.near[RIGHT] = others;
            self.detached = at;
        }
    }

    /// Frees a detached node.
    pub fn release(&mut self) -> Option<V> {
        let node = self.arena.free(self.detached)?;
        self.detached = node.near[RIGHT];
        Some(node.value)
    }

    fn unlink(&mut self, at: u32) {
        let Some(node) = self.get(at) else { return };
        let ([left, right], [before, after], parent, height, gap) =
            (node.child, node.near, node.parent, node.height, node.gap);
        let lowest = if left == NONE || right == NONE {
            self.put_below(parent, at, if left == NONE { right } else { left });
            parent
        } else {
            // The node after is the leftmost of the right subtree; it takes the place.
            let old_parent = self.parent(after);
            let lowest = if old_parent == at {
                after
            } else {
                self.put_below(old_parent, after, self.child(after, RIGHT));
                self.set_child(after, RIGHT, right);
                old_parent
            };
            self.set_child(after, LEFT, left);
            self.put_below(parent, at, after);
            if let Some(moved) = self.get_mut(after) {
                moved.height = height;
                moved.gap = gap;
            }
            lowest
        };
        self.set_near(before, RIGHT, after);
        self.set_near(after, LEFT, before);
        self.len -= 1;
        self.repair(lowest);
        self.repair(after);
    }

    /// Brings heights, gaps and the balance in order from `at` up, after a change of its interval or its children.
    pub fn repair(&mut self, mut at: u32) {
        while let Some(node) = self.get(at) {
            let before = (node.height, node.gap);
            let [left, right] = node.child.map(|child| self.height(child));
            let top = if left > right + 1 {
                self.lift(at, LEFT)
            } else if right > left + 1 {
                self.lift(at, RIGHT)
            } else {
                self.summarize(at);
                at
            };
            let Some(node) = self.get(top) else { return };
            // Nothing above depends on what lies below but by these.
            if top == at && (node.height, node.gap) == before {
                return;
            }
            at = node.parent;
        }
    }

    /// Rotates the child at `side` above `at`, which is too deep there; returns the new top.
    fn lift(&mut self, at: u32, side: usize) -> u32 {
        let child = self.child(at, side);
        if self.height(self.child(child, 1 - side)) > self.height(self.child(child, side)) {
            self.rotate(child, 1 - side);
        }
        self.rotate(at, side)
    }

    fn rotate(&mut self, at: u32, side: usize) -> u32 {
        let up = self.child(at, side);
        let inner = self.child(up, 1 - side);
        let parent = self.parent(at);
        self.put_below(parent, at, up);
        self.set_child(at, side, inner);
        self.set_child(up, 1 - side, at);
        self.summarize(at);
        self.summarize(up);
        up
    }

    fn summarize(&mut self, at: u32) {
        let [left, right] = [self.child(at, LEFT), self.child(at, RIGHT)];
        let height = 1 + self.height(left).max(self.height(right));
        let gap = self.own_gap(at).max(self.widest(left)).max(self.widest(right));
        if let Some(node) = self.get_mut(at) {
            node.height = height;
            node.gap = gap;
        }
    }

    fn set_child(&mut self, at: u32, side: usize, child: u32) {
        if let Some(node) = self.get_mut(at) {
            node.child[side] = child;
        }
        if let Some(node) = self.get_mut(child) {
            node.parent = at;
        }
    }

    /// Puts `new` where `old` hung below `parent`.
    fn put_below(&mut self, parent: u32, old: u32, new: u32) {
        match self.get_mut(parent) {
            Some(node) => {
                let side = usize::from(node.child[RIGHT] == old);
                node.child[side] = new;
            }
            None => self.root = new,
        }
        if let Some(node) = self.get_mut(new) {
            node.parent = parent;
        }
    }

    /// Makes `other` the neighbour of `at` on `side`; without `at`, it is the first or the last.
    fn set_near(&mut self, at: u32, side: usize, other: u32) {
        match self.get_mut(at) {
            Some(node) => node.near[side] = other,
            None => self.ends[1 - side] = other,
        }
    }

    /// Checks every invariant (for tests).
    pub fn check(&self) {
        let (mut at, mut before, mut count) = (self.ends[LEFT], NONE, 0);
        while let Some(node) = self.get(at) {
            assert_eq!(node.near[LEFT], before);
            assert!(node.start < node.end);
            assert!(self.get(before).is_none_or(|other| other.end <= node.start));
            let [left, right] = node.child.map(|child| self.height(child));
            assert!(left.abs_diff(right) <= 1, "balance");
            assert_eq!(node.height, 1 + left.max(right));
            let [left, right] = node.child.map(|child| self.widest(child));
            assert_eq!(node.gap, left.max(right).max(self.own_gap(at)));
            for child in node.child.into_iter().filter(|&child| child != NONE) {
                assert_eq!(self.parent(child), at);
            }
            (before, at, count) = (at, node.near[RIGHT], count + 1);
        }
        assert_eq!(self.ends[RIGHT], before);
        assert_eq!(count, self.len);
        assert_eq!(self.parent(self.root), NONE);
    }
}
