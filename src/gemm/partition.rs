//! How the output is cut into parts for threads: a pure function of sizes.

use std::ops::Range;

/// A rectangle of the output that one thread computes: some channels and positions of one group of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) image: usize,
    pub(crate) group: usize,
    /// A multiple of the grid's piece at both ends, or the end of the channels.
    pub(crate) channels: Range<usize>,
    /// A multiple of the grid's piece at both ends, or the end of the positions.
    pub(crate) positions: Range<usize>,
}

/// The output as a grid of tiles, in the order in which they are computed: image, group, outer axis, inner axis. The
/// outer axis is the channels where a tile's weights stay in the cache, the positions where its band does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    images: usize,
    groups: usize,
    outer: Pieces,
    inner: Pieces,
    channels_outer: bool,
}

/// An axis of `len`, cut into pieces of `piece`; the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pieces {
    pub(crate) len: usize,
    pub(crate) piece: usize,
    /// What computing takes grows in such steps; a part of a piece.
    pub(crate) step: usize,
}

impl Pieces {
    fn count(self) -> usize {
        self.len.div_ceil(self.piece)
    }

    fn range(self, pieces: Range<usize>) -> Range<usize> {
        pieces.start * self.piece..self.len.min(pieces.end * self.piece)
    }

    /// What `pieces` take.
    fn weight(self, pieces: Range<usize>) -> u128 {
        (self.range(pieces).len() as u128).next_multiple_of(self.step as u128)
    }

    /// The number of pieces that take nearest to `weight`, at most all.
    fn nearest(self, weight: u128) -> usize {
        let below = (weight / self.piece as u128) as usize;
        if below >= self.count() {
            return self.count();
        }
        below + usize::from(2 * (weight - self.weight(0..below)) > self.weight(below..below + 1))
    }
}

/// A place between two tiles: of a block (the tiles of one group of one image), an outer and an inner piece.
type Cut = [usize; 3];

impl Grid {
    pub(crate) fn new(
        images: usize,
        groups: usize,
        channels: Pieces,
        positions: Pieces,
        channels_outer: bool,
    ) -> Self {
        let (outer, inner) = if channels_outer { (channels, positions) } else { (positions, channels) };
        Self { images, groups, outer, inner, channels_outer }
    }

    /// The number of tiles.
    pub(crate) fn tiles(&self) -> usize {
        // Each tile has an element of an output that exists, so this does not overflow.
        self.images * self.groups * self.outer.count() * self.inner.count()
    }

    /// Part `part` of `parts`, as few rectangles. The parts cover the output once, each about as much of it.
    pub(crate) fn part(&self, part: usize, parts: usize) -> impl Iterator<Item = Task> + '_ {
        let (from, to) = match parts {
            1 => ([0; 3], [self.images * self.groups, 0, 0]),
            _ => (self.cut(part, parts), self.cut(part + 1, parts)),
        };
        let end = [to[0] + usize::from(to[1..] != [0, 0]), 0, 0];
        (from[0]..end[0]).flat_map(move |block| {
            let start = if block == from[0] { [from[1], from[2]] } else { [0, 0] };
            let end = if block == to[0] { [to[1], to[2]] } else { [self.outer.count(), 0] };
            self.rectangles(start, end).map(move |[outer, inner]| self.task(block, outer, inner))
        })
    }

    /// By how much of an equal share the largest of `parts` exceeds it.
    pub(crate) fn excess(&self, parts: usize) -> f64 {
        let start = |part| self.weight(self.cut(part, parts));
        let largest = (0..parts).map(|part| start(part + 1) - start(part)).max().unwrap_or(0);
        let all = self.weight([self.images * self.groups, 0, 0]);
        (largest * parts as u128) as f64 / all as f64 - 1.0
    }

    /// What the tiles before `cut` take.
    fn weight(&self, [block, outer, inner]: Cut) -> u128 {
        let row = self.inner.weight(0..self.inner.count());
        let rows = block as u128 * self.outer.weight(0..self.outer.count()) + self.outer.weight(0..outer);
        rows * row + self.outer.weight(outer..outer + 1) * self.inner.weight(0..inner)
    }

    /// Where `part` of `parts` begins: the tile boundary nearest to its share.
    fn cut(&self, part: usize, parts: usize) -> Cut {
        let Self { outer, inner, .. } = *self;
        let blocks = self.images * self.groups;
        let inner_weight = inner.weight(0..inner.count());
        let block = outer.weight(0..outer.count()) * inner_weight;
        // An output in memory has fewer than 2⁶⁰ elements, and no more parts.
        let share = blocks as u128 * block * part as u128 / parts as u128;
        if share >= blocks as u128 * block {
            return [blocks, 0, 0];
        }
        let at = (share / block) as usize;
        let rest = share % block;
        let row = (rest / (outer.piece as u128 * inner_weight)) as usize;
        let start = outer.weight(0..row) * inner_weight;
        match inner.nearest((rest - start) / outer.weight(row..row + 1)) {
            column if column < inner.count() => [at, row, column],
            _ if row + 1 < outer.count() => [at, row + 1, 0],
            _ => [at + 1, 0, 0],
        }
    }

    /// The tiles of a block from `start` to `end`, as rectangles of pieces: the rest of a row, whole rows, the beginning of a row.
    fn rectangles(
        &self,
        start: [usize; 2],
        end: [usize; 2],
    ) -> impl Iterator<Item = [Range<usize>; 2]> + use<> {
        let all = self.inner.count();
        let rectangles = if start[0] == end[0] {
            [[start[0]..start[0] + 1, start[1]..end[1]], [0..0, 0..0], [0..0, 0..0]]
        } else {
            let whole = start[0] + usize::from(start[1] > 0);
            [[start[0]..whole, start[1]..all], [whole..end[0], 0..all], [end[0]..end[0] + 1, 0..end[1]]]
        };
        rectangles.into_iter().filter(|[outer, inner]| !outer.is_empty() && !inner.is_empty())
    }

    fn task(&self, block: usize, outer: Range<usize>, inner: Range<usize>) -> Task {
        let (outer, inner) = (self.outer.range(outer), self.inner.range(inner));
        let (channels, positions) = if self.channels_outer { (outer, inner) } else { (inner, outer) };
        Task { image: block / self.groups, group: block % self.groups, channels, positions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grids() -> impl Iterator<Item = Grid> {
        let axes = [(1, 1, 1), (1, 4, 2), (7, 1, 1), (7, 3, 3), (16, 4, 1), (49, 14, 1), (100, 32, 16)];
        [(0, 1), (1, 1), (1, 5), (3, 1), (2, 4)].into_iter().flat_map(move |(images, groups)| {
            let pieces = |(len, piece, step)| Pieces { len, piece, step };
            axes.into_iter().flat_map(move |channels| {
                axes.into_iter().flat_map(move |positions| {
                    [false, true].map(|channels_outer| {
                        Grid::new(images, groups, pieces(channels), pieces(positions), channels_outer)
                    })
                })
            })
        })
    }

    /// Every element of the output, as often as a task of the parts has it.
    fn cover(grid: &Grid, parts: usize) -> Vec<u8> {
        let (outer, inner) = (grid.outer.len, grid.inner.len);
        let mut cover = vec![0; grid.images * grid.groups * outer * inner];
        for task in (0..parts).flat_map(|part| grid.part(part, parts)) {
            let (o, i) = if grid.channels_outer {
                (task.channels, task.positions)
            } else {
                (task.positions, task.channels)
            };
            assert!(!o.is_empty() && !i.is_empty());
            for (range, pieces) in [(&o, grid.outer), (&i, grid.inner)] {
                assert_eq!(range.start % pieces.piece, 0);
                assert!(range.end % pieces.piece == 0 || range.end == pieces.len);
            }
            let block = task.image * grid.groups + task.group;
            for at in o {
                for element in &mut cover[(block * outer + at) * inner..][i.clone()] {
                    *element += 1;
                }
            }
        }
        cover
    }

    #[test]
    fn parts_cover_the_output_once_in_whole_tiles() {
        for grid in grids() {
            for parts in (1..=9).chain([16, 64, 1000]) {
                assert!(cover(&grid, parts).into_iter().all(|count| count == 1), "{grid:?} {parts}");
            }
        }
    }

    #[test]
    fn a_part_is_within_a_tile_of_its_share() {
        let rounded = |range: Range<usize>, pieces: Pieces| range.len().next_multiple_of(pieces.step);
        for grid in grids() {
            let Grid { outer, inner, .. } = grid;
            let tile = outer.weight(0..1) * inner.weight(0..1);
            let all = grid.images * grid.groups * rounded(0..outer.len, outer) * rounded(0..inner.len, inner);
            for parts in [1, 2, 3, 4, 7, 16, 64] {
                for part in 0..parts {
                    let of = |task: Task| {
                        let (channels, positions) =
                            if grid.channels_outer { (outer, inner) } else { (inner, outer) };
                        rounded(task.channels, channels) * rounded(task.positions, positions)
                    };
                    let size: usize = grid.part(part, parts).map(of).sum();
                    let share = all as f64 / parts as f64;
                    assert!((size as f64 - share).abs() <= tile as f64 + 1.0, "{grid:?} {part}/{parts}");
                }
            }
        }
    }

    #[test]
    fn a_part_has_few_rectangles() {
        for grid in grids() {
            for parts in [1, 2, 3, 16] {
                for part in 0..parts {
                    let blocks = (grid.images * grid.groups).div_ceil(parts) + 1;
                    assert!(grid.part(part, parts).count() <= blocks + 4, "{grid:?} {part}/{parts}");
                }
            }
        }
    }

    #[test]
    fn twice_as_many_parts_are_the_same_cuts_and_more() {
        for grid in grids() {
            for parts in [1, 2, 5] {
                let cuts: Vec<_> = (0..parts).map(|part| grid.cut(part, parts)).collect();
                assert!(cuts.iter().enumerate().all(|(part, &cut)| cut == grid.cut(2 * part, 2 * parts)));
            }
        }
    }

    #[test]
    fn the_cuts_of_a_known_grid() {
        // 512 channels of a 7×7 image in tiles of 32 × 14: whole rows of channels for 16 threads.
        let (channels, positions) =
            (Pieces { len: 512, piece: 32, step: 16 }, Pieces { len: 49, piece: 14, step: 1 });
        let grid = Grid::new(1, 1, channels, positions, true);
        assert_eq!(grid.tiles(), 64);
        let task = |channels, positions| Task { image: 0, group: 0, channels, positions };
        assert_eq!(grid.part(3, 16).collect::<Vec<_>>(), [task(96..128, 0..49)]);
        // A third: 5 rows of channels and 16 of the next row's 49 positions, so one tile of it.
        assert_eq!(grid.part(0, 3).collect::<Vec<_>>(), [task(0..160, 0..49), task(160..192, 0..14)]);
        assert_eq!(
            grid.part(1, 3).collect::<Vec<_>>(),
            [task(160..192, 14..49), task(192..320, 0..49), task(320..352, 0..28)]
        );
    }
}
