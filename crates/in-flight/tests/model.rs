//! Programs send sockets to each other, receive and close them. Whatever they do, what is there in the end is what can be reached.
use coracle_in_flight::{Graph, LOOK_EDGES};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Sockets with the references that a kernel would count, and the graph under test.
#[derive(Default)]
struct World {
    graph: Graph<usize>,
    /// All references, by socket. One without is closed.
    references: BTreeMap<usize, usize>,
    /// Descriptors that lead to it.
    descriptors: BTreeMap<usize, usize>,
    inboxes: BTreeMap<usize, VecDeque<usize>>,
}

impl World {
    fn open(&mut self, socket: usize) {
        self.references.insert(socket, 1);
        self.descriptors.insert(socket, 1);
        self.inboxes.insert(socket, VecDeque::new());
    }
    fn is_open(&self, socket: usize) -> bool {
        self.references.contains_key(&socket)
    }
    fn has_descriptor(&self, socket: usize) -> bool {
        self.descriptors.get(&socket).is_some_and(|count| *count > 0)
    }
    fn send(&mut self, socket: usize, holder: usize) {
        self.graph.add(socket, holder, || socket).unwrap();
        *self.references.get_mut(&socket).unwrap() += 1;
        self.inboxes.get_mut(&holder).unwrap().push_back(socket);
    }
    fn receive(&mut self, holder: usize) {
        if let Some(socket) = self.inboxes.get_mut(&holder).unwrap().pop_front() {
            self.graph.remove(socket, holder);
            *self.descriptors.get_mut(&socket).unwrap() += 1;
        }
    }
    fn close(&mut self, socket: usize) {
        *self.descriptors.get_mut(&socket).unwrap() -= 1;
        self.let_go(socket);
    }
    /// A reference ends, and with it all that ends by that.
    fn let_go(&mut self, socket: usize) {
        let mut ended = VecDeque::from([(socket, None)]);
        while let Some((socket, holder)) = ended.pop_front() {
            if let Some(holder) = holder {
                self.graph.remove(socket, holder);
            }
            let count = self.references.get_mut(&socket).unwrap();
            *count -= 1;
            if *count == 0 {
                self.references.remove(&socket);
                let inbox = self.inboxes.remove(&socket).unwrap();
                ended.extend(inbox.into_iter().map(|other| (other, Some(socket))));
                continue;
            }
            let unreachable =
                self.graph.look(socket, |key, messages| self.references[key] > messages).unwrap();
            self.give_up(&unreachable, &mut ended);
        }
    }
    fn give_up(&mut self, unreachable: &[usize], ended: &mut VecDeque<(usize, Option<usize>)>) {
        for holder in unreachable {
            let inbox = core::mem::take(self.inboxes.get_mut(holder).unwrap());
            ended.extend(inbox.into_iter().map(|other| (other, Some(*holder))));
        }
    }
    /// What descriptors lead to, directly or through inboxes.
    fn reachable(&self) -> BTreeSet<usize> {
        let mut found: BTreeSet<usize> = BTreeSet::new();
        let mut next: Vec<usize> =
            self.references.keys().copied().filter(|s| self.has_descriptor(*s)).collect();
        while let Some(socket) = next.pop() {
            if found.insert(socket) {
                next.extend(&self.inboxes[&socket]);
            }
        }
        found
    }
    fn check(&self) {
        assert_eq!(self.references.keys().copied().collect::<BTreeSet<_>>(), self.reachable());
        let in_flight: BTreeSet<usize> = self.inboxes.values().flatten().copied().collect();
        assert_eq!(self.graph.len(), in_flight.len());
        assert_eq!(self.graph.is_empty(), in_flight.is_empty());
        assert!(in_flight.iter().all(|socket| self.graph.get(*socket) == Some(socket)));
    }
}

proptest! {
    #[test]
    fn what_is_left_can_be_reached(steps in prop::collection::vec((0u8..5, 0usize..8, 0usize..8), 0..200)) {
        let mut world = World::default();
        for (what, a, b) in steps {
            match what {
                0 if !world.is_open(a) => world.open(a),
                0 | 1 if world.has_descriptor(a) && world.is_open(b) => world.send(a, b),
                2 if world.has_descriptor(a) => world.receive(a),
                3 | 4 if world.has_descriptor(a) => world.close(a),
                _ => {}
            }
            world.check();
        }
        for socket in 0..8 {
            while world.has_descriptor(socket) {
                world.close(socket);
            }
        }
        prop_assert!(world.references.is_empty() && world.graph.is_empty());
    }
}

/// A ring of sockets, each in the inbox of the next.
fn ring(world: &mut World, from: usize, length: usize) {
    (from..from + length).for_each(|socket| world.open(socket));
    (0..length).for_each(|at| world.send(from + at, from + (at + 1) % length));
}

#[test]
fn a_ring_longer_than_a_look_ends_with_its_last_descriptor() {
    let mut world = World::default();
    let length = 20 * LOOK_EDGES;
    ring(&mut world, 0, length);
    (0..length).for_each(|socket| world.close(socket));
    assert!(world.references.is_empty() && world.graph.is_empty());
}

#[test]
fn what_looks_leave_open_is_settled_by_a_few_more() {
    let mut world = World::default();
    let length = 20 * LOOK_EDGES;
    ring(&mut world, 0, length);
    // A second reference of the first ends again and again: most looks go along the bounded number of edges only.
    world.close(0);
    (1..length - 1).for_each(|socket| world.close(socket));
    world.check();
    // The last descriptor is that of the socket furthest away.
    let kept = length - 1;
    for _ in 0..100 {
        *world.references.get_mut(&0).unwrap() += 1;
        *world.descriptors.get_mut(&0).unwrap() += 1;
        world.close(0);
        world.check();
    }
    world.close(kept);
    let mut ended = VecDeque::new();
    let unreachable = world.graph.settle(|key, messages| world.references[key] > messages).unwrap();
    world.give_up(&unreachable, &mut ended);
    while let Some((socket, holder)) = ended.pop_front() {
        world.graph.remove(socket, holder.unwrap());
        world.let_go(socket);
    }
    assert!(world.references.is_empty() && world.graph.is_empty());
}
