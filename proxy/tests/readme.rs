//! The README's table of refusals is the code's.

use ownergate::decide::Code;

fn row(code: Code) -> String {
    format!("| {} | `{code}` | {} |", code.status().as_u16(), code.detail())
}

#[test]
fn the_readme_lists_every_refusal_in_order_and_no_other() {
    let readme = include_str!("../../README.md");
    let section = readme.split("\n## What is refused\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let listed: Vec<&str> = section.lines().filter(|line| line.contains("| `")).collect();
    let wanted: Vec<String> = Code::ALL.iter().copied().map(row).collect();
    assert_eq!(listed, wanted, "the table must read:\n{}", wanted.join("\n"));
}
