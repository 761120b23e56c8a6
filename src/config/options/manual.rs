//! Prints the option part of `config/README.md`, one option in one fixed form.

use super::{Default, Opt, Table, tables};

/// Returns the option part of the manual, as Markdown.
pub fn manual() -> String {
    tables().map(section).collect()
}

fn section(table: &Table) -> String {
    let options: String = table.options.iter().map(option).collect();
    format!("\n### `{}`\n\n{}\n{options}", table.path, table.summary)
}

fn option(option: &Opt) -> String {
    let default = match option.default {
        Default::Required => "none; it must be written".to_owned(),
        Default::Unset => "unset".to_owned(),
        Default::Is(value) => format!("`{value}`"),
    };
    let see: Vec<String> = option.see.iter().map(|path| format!("`{path}`")).collect();
    format!(
        "\n#### `{}`\n\n{}\n\n\
         - Value: {}\n\
         - Default: {default}\n\
         - Example: `{} = {}`\n\
         - Protects: {}\n\
         - Without it: {}.\n\
         - See also: {}\n",
        option.path,
        option.summary,
        option.value,
        option.shown_key(),
        option.example,
        option.protects,
        option.without,
        see.join(", "),
    )
}
