//! How tasks follow one another. Each has at most one parent, so they form
//! trees: what a dispatcher walks when a task is done with a file.

/// The tasks of a pipeline by what they depend on. A task is its index in the
/// file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    order: Vec<usize>,
    places: Vec<Place>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    parent: Option<usize>,
    children: Vec<usize>,
    depth: usize,
}

impl Tree {
    /// Of each task's parent. None where tasks depend on one another in a circle,
    /// or on one that is not there.
    pub fn new(parents: &[Option<usize>]) -> Option<Tree> {
        let mut places = vec![Place::default(); parents.len()];
        for (task, parent) in parents.iter().enumerate() {
            places[task].parent = *parent;
            if let Some(parent) = parent {
                places.get_mut(*parent)?.children.push(task);
            }
        }
        let mut order = Vec::with_capacity(places.len());
        let roots = (0..places.len()).filter(|task| places[*task].parent.is_none());
        // The first in the file is taken first, so it is put last.
        let mut next: Vec<usize> = roots.collect();
        next.reverse();
        while let Some(task) = next.pop() {
            order.push(task);
            let depth = places[task].depth + 1;
            let children = places[task].children.clone();
            children.iter().for_each(|child| places[*child].depth = depth);
            next.extend(children.iter().rev());
        }
        // What is in a circle hangs from no root.
        (order.len() == places.len()).then_some(Tree { order, places })
    }

    /// All tasks, each after its parent: depth first, and among brothers as in the
    /// file.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The task whose outputs this one reads; none for one that reads the input
    /// directory.
    pub fn parent(&self, task: usize) -> Option<usize> {
        self.places[task].parent
    }

    /// The tasks that read its outputs, as in the file.
    pub fn children(&self, task: usize) -> &[usize] {
        &self.places[task].children
    }

    /// How many tasks come before it: 0 for a root.
    pub fn depth(&self, task: usize) -> usize {
        self.places[task].depth
    }

    /// Whether it reads the input directory.
    pub fn is_root(&self, task: usize) -> bool {
        self.parent(task).is_none()
    }

    /// Whether no task reads its outputs.
    pub fn is_leaf(&self, task: usize) -> bool {
        self.children(task).is_empty()
    }

    /// The tasks that read the input directory.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        self.order.iter().copied().filter(|task| self.is_root(*task))
    }

    /// The tasks whose outputs no other reads: a file is finished when all of them
    /// are done with it.
    pub fn leaves(&self) -> impl Iterator<Item = usize> {
        self.order.iter().copied().filter(|task| self.is_leaf(*task))
    }

    /// From its parent up to a root.
    pub fn ancestors(&self, task: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.parent(task), |task| self.parent(*task))
    }

    /// All tasks that come after it, which a file that fails on it does not reach.
    pub fn descendants(&self, task: usize) -> &[usize] {
        let at = self.order.iter().position(|other| *other == task).unwrap_or(self.order.len());
        let after = self.order.get(at + 1..).unwrap_or_default();
        let depth = self.depth(task);
        let end = after.iter().position(|other| self.depth(*other) <= depth);
        &after[..end.unwrap_or(after.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parents_come_first_and_brothers_as_in_the_file() {
        //  1 ─ 0 ─ 4
        //    ╰ 3
        //  2
        let tree = Tree::new(&[Some(1), None, None, Some(1), Some(0)]).unwrap();
        assert_eq!(tree.order(), [1, 0, 4, 3, 2]);
        assert_eq!(tree.roots().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(tree.leaves().collect::<Vec<_>>(), [4, 3, 2]);
        assert_eq!(tree.children(1), [0, 3]);
        assert_eq!(tree.parent(4), Some(0));
        assert_eq!(tree.depth(4), 2);
        assert_eq!(tree.ancestors(4).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(tree.descendants(1), [0, 4, 3]);
        assert_eq!(tree.descendants(0), [4]);
        assert!(tree.descendants(2).is_empty());
        assert!(!tree.is_empty() && tree.len() == 5);
    }

    #[test]
    fn circles_are_no_trees() {
        assert_eq!(Tree::new(&[Some(0)]), None);
        assert_eq!(Tree::new(&[None, Some(2), Some(1)]), None);
        assert_eq!(Tree::new(&[Some(7)]), None);
        assert!(Tree::new(&[]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn what_is_a_tree_has_every_task_once_after_its_parent(
            parents in proptest::collection::vec(proptest::option::of(0usize..12), 0..12)
        ) {
            let rooted = |mut task: usize| {
                for _ in 0..parents.len() {
                    match parents.get(task) {
                        Some(Some(parent)) => task = *parent,
                        Some(None) => return true,
                        None => return false,
                    }
                }
                false
            };
            let good = (0..parents.len()).all(rooted);
            let tree = Tree::new(&parents);
            prop_assert_eq!(tree.is_some(), good);
            let Some(tree) = tree else { return Ok(()) };
            let place = |task| tree.order().iter().position(|t| *t == task);
            for (task, parent) in parents.iter().copied().enumerate() {
                prop_assert!(place(task).is_some());
                prop_assert_eq!(tree.parent(task), parent);
                prop_assert!(parent.is_none_or(|parent| place(parent) < place(task)));
                prop_assert_eq!(tree.depth(task), tree.ancestors(task).count());
                let is_below = |other: &usize| tree.ancestors(*other).any(|a| a == task);
                let below: Vec<usize> = tree.order().iter().copied().filter(is_below).collect();
                prop_assert_eq!(tree.descendants(task), below);
            }
        }
    }
}
