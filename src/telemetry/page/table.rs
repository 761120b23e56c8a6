//! Tables that stay tables for those who hear them, however narrow the page is.

use super::html::Html;
use super::timeline;

/// A column: its heading, and the class of its cells.
pub(super) type Column = (&'static str, &'static str);

/// A table that is being written. The first cell of each row names it.
///
/// The roles are said beside the elements, since a narrow page shows rows as
/// cards, and an element that is not shown as a table is none to some browsers.
pub(super) struct Table<'h> {
    html: &'h mut Html,
    columns: &'static [Column],
    next: usize,
    has_row: bool,
}

impl<'h> Table<'h> {
    pub(super) fn begin(
        html: &'h mut Html,
        label: &'static str,
        columns: &'static [Column],
    ) -> Self {
        html.raw("<table role=\"table\" aria-label=\"").raw(label);
        html.raw("\"><thead role=\"rowgroup\"><tr role=\"row\">");
        for (heading, class) in columns {
            html.raw("<th role=\"columnheader\" scope=\"col\" class=\"");
            html.raw(class).raw("\">").raw(heading);
            if *class == timeline::CLASS {
                timeline::scale(html);
            }
            html.raw("</th>");
        }
        html.raw("</tr></thead><tbody role=\"rowgroup\">");
        Self {
            html,
            columns,
            next: 0,
            has_row: false,
        }
    }

    /// The next row.
    pub(super) fn row(&mut self) -> &mut Self {
        if self.has_row {
            self.end_cell();
            self.html.raw("</tr>");
        }
        self.html.raw("<tr role=\"row\">");
        (self.has_row, self.next) = (true, 0);
        self
    }

    /// The next cell of the row, to be written into.
    pub(super) fn cell(&mut self) -> &mut Html {
        if self.next > 0 {
            self.end_cell();
        }
        let (heading, class) = self.columns.get(self.next).copied().unwrap_or_default();
        self.html.raw(match self.next {
            0 => "<th role=\"rowheader\" scope=\"row\" class=\"",
            _ => "<td role=\"cell\" class=\"",
        });
        self.html.raw(class).raw("\" data-label=\"");
        self.html.raw(heading).raw("\"><div>");
        self.next += 1;
        self.html
    }

    pub(super) fn end(mut self) {
        if self.has_row {
            self.end_cell();
            self.html.raw("</tr>");
        }
        self.html.raw("</tbody></table>");
    }

    fn end_cell(&mut self) {
        self.html.raw(match self.next {
            1 => "</div></th>",
            _ => "</div></td>",
        });
    }
}
