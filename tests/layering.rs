//! How the source is layered: no upward import, `unsafe` only where it may be, files of a readable length.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the lowest to the highest; each may import those before it. `gemm::blocking` and `gemm::partition`,
/// pure arithmetic, come before the plan that asks them; the rest of `gemm` does what a plan says.
const ORDER: [&str; 39] = [
    "element",
    "error",
    "geometry",
    "chain",
    "epilogue",
    "slices",
    "reference",
    "im2col",
    "isa",
    "caches",
    "machine",
    "winograd",
    "simd",
    "kernel",
    "phases",
    "pack",
    "parallel",
    "gemm::blocking",
    "gemm::partition",
    "plan",
    "gemm::tiles",
    "gemm::step",
    "gemm::channel_tiles",
    "gemm::depthwise_tiles",
    "gemm::plane_tiles",
    "gemm::position_tiles",
    "gemm::winograd_tiles",
    "gemm::driver",
    "gemm::phase_blocks",
    "gemm::position_sums",
    "gemm",
    "engine",
    "workspace",
    "forward",
    "backward",
    "transpose",
    "conv",
    "one_call",
    "arrays",
];

const MAY_BE_UNSAFE: [&str; 12] = [
    "simd/",
    "kernel/",
    "pack/",
    "gemm/tiles.rs",
    "gemm/channel_tiles.rs",
    "gemm/depthwise_tiles.rs",
    "gemm/phase_blocks.rs",
    "gemm/plane_tiles.rs",
    "gemm/position_sums.rs",
    "gemm/position_tiles.rs",
    "gemm/weight_chunks.rs",
    "gemm/winograd_tiles.rs",
];

const MOST_LINES: usize = 500;

/// Files of `src`: the path inside it, with forward slashes, and the text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    collect(&root, &mut files);
    let relative = |file: &PathBuf| {
        let path = file.strip_prefix(&root).unwrap();
        path.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("/")
    };
    let mut sources: Vec<_> = files.iter().map(|f| (relative(f), fs::read_to_string(f).unwrap())).collect();
    sources.sort();
    assert!(sources.len() > 20, "src was found");
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// `text` with comments, strings and character literals blanked out, line breaks kept.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            'r' if is_raw_string(rest) && !code.ends_with(is_word) => raw_string(rest),
            '"' => quoted(rest, '"'),
            // Not a lifetime: closed after one character or an escape.
            '\'' if rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'') => quoted(rest, '\''),
            _ => 0,
        };
        if skipped == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of the comment that `text` starts with; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(0, char::len_utf8)
        };
        at += step;
        if depth == 0 || step == 0 {
            return at;
        }
    }
}

fn is_raw_string(text: &str) -> bool {
    text[1..].trim_start_matches('#').starts_with('"')
}

fn raw_string(text: &str) -> usize {
    let hashes = text[1..].find('"').unwrap();
    let start = 1 + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// Bytes of the literal that `text` starts with, both quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Whether `word` stands in `code` by itself.
fn has_token(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word))
}

/// The paths that `code` names behind `crate::`, groups in braces taken apart: `a::{b, c::d}` is `a::b`, `a::c::d`.
fn imports(code: &str) -> Vec<String> {
    // `$crate` in a macro of this crate names the same.
    let starts = code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with(is_word));
    starts.flat_map(|(at, start)| paths(&code[at + start.len()..])).collect()
}

fn paths(text: &str) -> Vec<String> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return members(group).into_iter().flat_map(paths).collect();
    }
    let word: String = text.chars().take_while(|&c| is_word(c)).collect();
    match text[word.len()..].trim_start().strip_prefix("::") {
        Some(rest) if rest.trim_start().starts_with(|c: char| is_word(c) || c == '{') => {
            paths(rest).into_iter().map(|path| format!("{word}::{path}")).collect()
        }
        _ => vec![word],
    }
}

/// What the commas of a group separate, up to the brace that closes it.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0, 0, vec![]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.into_iter().filter(|member| !member.trim().is_empty()).collect()
}

/// Where the longest prefix of `path` stands in the order.
fn rank(path: &str) -> Option<usize> {
    let is_prefix = |module: &str| {
        path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let matching = ORDER.iter().enumerate().filter(|(_, module)| is_prefix(module));
    matching.max_by_key(|(_, module)| module.len()).map(|(rank, _)| rank)
}

/// `kernel/avx2.rs` is `kernel::avx2`, `gemm/mod.rs` is `gemm`.
fn module_of(file: &str) -> String {
    file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
}

#[test]
fn no_module_imports_one_above_it() {
    let mut upward = vec![];
    for (file, text) in sources() {
        // lib.rs re-exports everything.
        if file == "lib.rs" {
            continue;
        }
        let own = rank(&module_of(&file)).unwrap_or_else(|| panic!("src/{file} has no place in the order"));
        for path in imports(&code(&text)) {
            // What lib.rs re-exports, types and functions, is named by its module inside the crate.
            let Some(imported) = rank(&path) else {
                upward.push(format!("src/{file}: crate::{path} has no place in the order"));
                continue;
            };
            if imported > own {
                upward.push(format!("src/{file} imports crate::{path}, which is above it"));
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn unsafe_is_only_where_it_may_be() {
    let may = |file: &str| MAY_BE_UNSAFE.iter().any(|allowed| file.starts_with(allowed));
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|(file, text)| !may(file) && has_token(&code(text), "unsafe"))
        .map(|(file, _)| file)
        .collect();
    assert!(found.is_empty(), "unsafe in {found:?}");
}

#[test]
fn files_are_short_enough_to_read() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "over {MOST_LINES} lines: {long:?}");
}

/// The tests above see what they look for.
#[test]
fn the_parser_reads_rust() {
    let text = r##"
        //! crate::conv unsafe
        use crate::{error::{Error, Result}, gemm::blocking::Blocking}; // crate::plan
        /* unsafe /* nested */ crate::plan */
        fn f<'a>(c: char) -> &'a str { let _ = ('"', '\'', "crate::plan \" unsafe", r#"unsafe " "#); crate::isa::g::<u8>() }
        macro_rules! m { () => { $crate::simd::h() } }
        fn unsafely() { r#try(); mycrate::x(); }
    "##;
    let code = code(text);
    let expected = ["error::Error", "error::Result", "gemm::blocking::Blocking", "isa::g", "simd::h"];
    assert_eq!(imports(&code), expected);
    assert!(!has_token(&code, "unsafe"));
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(has_token("{ unsafe{x} }", "unsafe"));
    assert!(rank("gemm::blocking::Blocking") < rank("plan") && rank("plan") < rank("gemm::driver"));
    assert_eq!(
        (rank("plans"), module_of("kernel/mod.rs"), module_of("isa.rs")),
        (None, "kernel".into(), "isa".into())
    );
}
