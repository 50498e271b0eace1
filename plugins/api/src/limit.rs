//! The most inputs of a request, as a server says it in refusing one that has more.

/// Words for inputs, for a limit before its number, for one behind it, and for limits of another kind.
const INPUTS: [&str; 16] = [
    "input", "batch", "item", "text", "document", "element", "entries", "sentence", "image", "array", "list", "string",
    "request", "content", "instance", "passage",
];
const BEFORE: [&str; 20] = [
    "max",
    "at most",
    "limit",
    "no more than",
    "not more than",
    "more than",
    "less than",
    "fewer than",
    "larger than",
    "greater than",
    "longer than",
    "up to",
    "exceed",
    "<=",
    "≤",
    "only",
    "between",
    "above",
    "over ",
    "size >",
];
const BEHIND: [&str; 5] = [" max", " limit", " at most", " or fewer", " or less"];
const OTHERS: [&str; 14] = [
    "token",
    "character",
    "byte",
    "context",
    "dimension",
    "minute",
    "second",
    " day",
    "hour",
    " mb",
    "pixel",
    " kb",
    "quota",
    " words",
];

/// The number of inputs that these words allow, if they refuse `sent` of them for being too many.
pub(crate) fn inputs(words: &str, sent: usize) -> Option<usize> {
    let words = words.to_lowercase();
    sentences(&words).into_iter().find_map(|sentence| in_sentence(sentence, sent))
}

/// Parts that end with a dot or semicolon: what is said of tokens in one says nothing of another.
fn sentences(words: &str) -> Vec<&str> {
    words.split(". ").flat_map(|part| part.split("; ")).collect()
}

fn in_sentence(words: &str, sent: usize) -> Option<usize> {
    let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
    if !has(&INPUTS) || has(&OTHERS) {
        return None;
    }
    let fits = |(_, _, number): &&(usize, usize, usize)| (1..sent).contains(number);
    let numbers = numbers(words);
    // The first number behind a word for a limit, with hardly anything between the two.
    let behind = |word: &str| {
        words.match_indices(word).find_map(|(at, _)| {
            let end = at + word.len();
            let at = numbers.iter().position(|(start, ..)| *start >= end)?;
            // From one to so many.
            let is_range = |next: &(usize, usize, usize)| numbers[at].2 < 2 && next.0 - numbers[at].1 <= 5;
            let next = numbers.get(at + 1).filter(|next| is_range(next)).unwrap_or(&numbers[at]);
            Some(next).filter(|next| next.0 - end <= 40 && fits(next)).map(|next| next.2)
        })
    };
    let before = |(_, end, number): &(usize, usize, usize)| {
        BEHIND.iter().any(|word| words[*end..].find(word).is_some_and(|at| at <= 30)).then_some(*number)
    };
    BEFORE.iter().find_map(|word| behind(word)).or_else(|| numbers.iter().filter(fits).find_map(before))
}

/// The whole numbers in a text, with the places where they start and end: none with a sign, in a word, or with a point.
fn numbers(words: &str) -> Vec<(usize, usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = words[at..].find(|c: char| c.is_ascii_digit()).map(|start| at + start) {
        let is_of_number = |c: char| c.is_ascii_digit() || c == ',' || c == '.' || c == '_';
        let end = words[start..].find(|c| !is_of_number(c)).map_or(words.len(), |end| start + end);
        let text = words[start..end].trim_end_matches([',', '.', '_']);
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
        // That of an item is no limit.
        let is_place = words[..start].ends_with(['/', '[', '#']) || words[..start].ends_with("index ");
        let apart = !is_place
            && !is_word(words[..start].chars().next_back())
            && !is_word(words[start + text.len()..].chars().next());
        // Thousands may be set apart.
        let digits: String = text.chars().filter(|c| *c != ',' && *c != '_').collect();
        if let (true, Ok(number)) = (apart, digits.parse()) {
            found.push((start, start + text.len(), number));
        }
        at = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_inputs_are_read_from_a_servers_words() {
        for (words, most) in [
            ("Maximum is 5 inputs", 5),
            ("batch size must be at most 32", 32),
            ("too many inputs, max 96", 96),
            ("batch size 2000 > maximum allowed batch size 32", 32),
            ("2000 inputs, and no more than 64 are allowed", 64),
            ("Batch size is invalid, it should not be larger than 10.: input.contents", 10),
            ("invalid request: total number of texts must be at most 96 - received 2000", 96),
            ("The batch size limit is 1,000. Your batch size is 2000.", 1000),
            ("BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch", 100),
            ("input: List should have at most 32 items after validation, not 2000", 32),
            ("Invalid 'input': array too long. Expected an array with maximum length 512, but got 2000.", 512),
            ("input 2000 inputs exceeds the limit: 128 is the limit of inputs", 128),
            ("the number of inputs (2000) exceeds 16", 16),
            ("inputs must have less than or equal to 20 elements", 20),
            ("max_batch_size=8: got a batch of 2000", 8),
            ("you may send 25 texts at most", 25),
            ("the number of inputs must be between 1 and 24", 24),
            ("at most 1 input is taken", 1),
            ("Each input is short enough. Only 7 inputs fit. Tokens: at most 9 each", 7),
        ] {
            assert_eq!(inputs(words, 2000), Some(most), "{words}");
        }
    }

    #[test]
    fn other_limits_and_numbers_are_not() {
        for words in [
            "This model's maximum context length is 8192 tokens, however you requested 9000 tokens",
            "input 3 is longer than the maximum of 512 tokens",
            "the input must have at most 1000 characters",
            "requests must be smaller than 2 MB",
            "input 7 is not allowed",
            "Malformed input request: #/texts/3: expected maxLength: 2048, actual: 2321",
            "exceeds the limit at input[3]",
            "the text at index 4 exceeds the maximum",
            "at most 60 requests per minute",
            "the model takes at most 99999 inputs",
            "input 3 must be a text",
            "dimensions of the input must be at most 512",
            "batch size > maximum allowed batch size",
            "at most 0 inputs",
            "",
        ] {
            assert_eq!(inputs(words, 2000), None, "{words}");
        }
        assert_eq!(inputs("batch size must be at most 32", 32), None, "so many were not too many");
    }
}
