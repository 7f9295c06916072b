//! Columns that line up and fit: names are shortened first, then gaps, then columns go.

use crate::report::text::{shorten_all, width};

/// Names are not shortened below this while a less telling column can go instead.
pub const NARROWEST_NAME: usize = 16;

const GAP: usize = 2;

/// A column of the table.
#[derive(Clone, Debug)]
pub struct Column {
    header: String,
    cells: Vec<String>,
    right: bool,
    shortened: bool,
    rank: usize,
}

impl Column {
    /// Text, aligned left.
    pub fn left(header: &str, cells: Vec<String>) -> Self {
        Self {
            header: header.into(),
            cells,
            right: false,
            shortened: false,
            rank: 0,
        }
    }

    /// Numbers, aligned right.
    pub fn right(header: &str, cells: Vec<String>) -> Self {
        Self {
            right: true,
            ..Self::left(header, cells)
        }
    }

    /// The middle of its cells may be left out.
    pub fn shortened(self) -> Self {
        Self {
            shortened: true,
            ..self
        }
    }

    /// May be dropped where there is no room, the highest rank first; rank 0
    /// always stays.
    pub fn rank(self, rank: usize) -> Self {
        Self { rank, ..self }
    }

    fn natural_width(&self) -> usize {
        self.cells
            .iter()
            .chain([&self.header])
            .map(|text| width(text))
            .max()
            .unwrap_or(0)
    }
}

/// Columns with their final widths.
#[derive(Clone, Debug)]
pub struct Layout {
    columns: Vec<(Column, usize)>,
    gap: usize,
    hidden: Vec<String>,
}

impl Layout {
    /// Fits the columns into a width, or leaves them as wide as they are.
    pub fn new(columns: Vec<Column>, limit: Option<usize>) -> Self {
        let columns = columns
            .into_iter()
            .map(|column| (column.natural_width(), column));
        let columns = columns.map(|(width, column)| (column, width)).collect();
        let mut layout = Self {
            columns,
            gap: GAP,
            hidden: Vec::new(),
        };
        if let Some(limit) = limit {
            layout.fit(limit);
        }
        layout
    }

    fn fit(&mut self, limit: usize) {
        self.shorten_names(limit);
        if self.total() > limit {
            self.gap = 1;
        }
        while self.total() > limit && self.drop_one() {}
        // The last column to go may have freed more than was missing: gaps, then names get it.
        self.gap = GAP;
        if self.total() > limit {
            self.gap = 1;
        }
        self.widen_names(limit);
        for (column, width) in self
            .columns
            .iter_mut()
            .filter(|(column, _)| column.shortened)
        {
            column.cells = shorten_all(&column.cells, *width);
        }
    }

    fn total(&self) -> usize {
        let gaps = self.gap * self.columns.len().saturating_sub(1);
        self.columns.iter().map(|(_, width)| width).sum::<usize>() + gaps
    }

    fn shorten_names(&mut self, limit: usize) {
        let excess = self.total().saturating_sub(limit);
        for (_, width) in self
            .columns
            .iter_mut()
            .filter(|(column, _)| column.shortened)
        {
            *width = (*width).min((*width).saturating_sub(excess).max(NARROWEST_NAME));
        }
    }

    fn widen_names(&mut self, limit: usize) {
        let room = limit.saturating_sub(self.total());
        for (column, width) in self
            .columns
            .iter_mut()
            .filter(|(column, _)| column.shortened)
        {
            *width = column.natural_width().min(*width + room);
        }
    }

    fn drop_one(&mut self) -> bool {
        let ranked = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (column, _))| (column.rank, index));
        match ranked.max() {
            Some((rank, index)) if rank > 0 => {
                let (column, _) = self.columns.remove(index);
                self.hidden.insert(0, column.header);
                true
            }
            _ => false,
        }
    }

    /// The headers of the columns that went.
    pub fn hidden(&self) -> &[String] {
        &self.hidden
    }

    /// The header and the rows.
    pub fn lines(&self) -> Vec<String> {
        let rows = self
            .columns
            .iter()
            .map(|(column, _)| column.cells.len())
            .max()
            .unwrap_or(0);
        let header = self.line(|column| &column.header);
        let body =
            (0..rows).map(|row| self.line(|column| column.cells.get(row).map_or("", |cell| cell)));
        [header].into_iter().chain(body).collect()
    }

    fn line<'a>(&'a self, text: impl Fn(&'a Column) -> &'a str) -> String {
        let cells = self.columns.iter().map(|(column, width)| {
            let text = text(column);
            if column.right {
                pad_left(text, *width)
            } else {
                pad_right(text, *width)
            }
        });
        cells.collect::<Vec<_>>().join(&" ".repeat(self.gap))
    }
}

/// Spaces after the text, up to `columns`.
pub fn pad_right(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let texts = |cells: &[&str]| {
            cells
                .iter()
                .map(|&cell| cell.to_owned())
                .collect::<Vec<_>>()
        };
        vec![
            Column::left(
                "layer",
                texts(&["a very long name of a layer", "畳み込み", "b"]),
            )
            .shortened(),
            Column::right("sigma_1", texts(&["1.0000", "12.000", "0.1"])),
            Column::right("matvecs", texts(&["10", "200", "3000"])).rank(5),
        ]
    }

    #[test]
    fn every_line_is_as_wide_as_the_others() {
        for limit in [None, Some(100), Some(45), Some(40), Some(30)] {
            let layout = Layout::new(columns(), limit);
            let widths: Vec<usize> = layout.lines().iter().map(|line| width(line)).collect();
            assert!(
                widths.windows(2).all(|pair| pair[0] == pair[1]),
                "{limit:?}: {widths:?}"
            );
            assert!(
                widths[0] <= limit.unwrap_or(usize::MAX),
                "{limit:?}: {widths:?}"
            );
        }
    }

    #[test]
    fn a_column_goes_before_a_name_becomes_a_stump() {
        assert!(Layout::new(columns(), Some(40)).hidden().is_empty());
        assert_eq!(Layout::new(columns(), Some(30)).hidden(), ["matvecs"]);
    }
}
