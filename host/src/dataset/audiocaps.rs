//! AudioCaps: captions of clips of YouTube, whose files are usually called by the clip's id.

use super::cells::Cells;
use super::table::Table;

/// The table with a column `file`, `Y<youtube_id>.wav`, if it is one of AudioCaps without files.
pub(super) fn with_files(mut table: Table) -> Table {
    let column = |name: &str| table.names.iter().position(|column| column == name);
    let (Some(ids), Some(_), Some(_), None) =
        (column("youtube_id"), column("start_time"), column("caption"), column("file"))
    else {
        return table;
    };
    let mut files = Cells::default();
    for row in 0..table.rows {
        match table.columns[ids].cell(row) {
            [] => files.push(b""),
            id => files.push(&[b"Y", id, b".wav"].concat()),
        }
    }
    table.names.push("file".to_owned());
    table.columns.push(files);
    table.format = "AudioCaps";
    table
}

#[cfg(test)]
mod tests {
    use crate::dataset::read_table;

    #[test]
    fn clips_are_files_and_names_may_have_spaces() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("train.csv"), "audiocap_id,youtube_id,start_time,caption\n1,-ab_9,10,\"Rain, falling\"\n")
            .unwrap();
        let table = read_table(&at("train.csv")).unwrap();
        let files = table.column("file").unwrap();
        assert_eq!((table.format(), files.text(0).unwrap()), ("AudioCaps", "Y-ab_9.wav"));
        assert_eq!(files.file(0), at("Y-ab_9.wav"));
        let clotho = "file_name,caption_1,caption_2\nDistorted AM Radio noise.wav,a,\"b, c\"\n";
        std::fs::write(at("clotho.csv"), clotho).unwrap();
        let table = read_table(&at("clotho.csv")).unwrap();
        assert_eq!(table.column("file_name").unwrap().file(0), at("Distorted AM Radio noise.wav"));
    }
}
