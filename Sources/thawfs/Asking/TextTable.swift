import ThawCore

/// Rows of cells in columns as wide as their widest cell, two blanks apart.
struct TextTable {
    /// Columns of numbers, by their place.
    var rightAligned: Set<Int> = []
    var rows: [[String]] = []

    /// A line for each row, without blanks at the end.
    var lines: [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.lazy.filter { column < $0.count }.map { $0[column].count }.max() ?? 0
        }
        return rows.map { row in
            let cells = row.enumerated().map { column, cell in
                let blanks = String(repeating: " ", count: widths[column] - cell.count)
                return rightAligned.contains(column) ? blanks + cell : cell + blanks
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }
}

/// Writes lines to the standard output. Names and what a daemon says are in them: they do not steer the terminal.
func printLines(_ lines: some Sequence<String>, indentedBy blanks: Int = 0) {
    for line in lines { print(String(repeating: " ", count: blanks) + line.printable) }
}

/// Writes one document, whose strings hold no bare control characters.
func printDocument(_ json: JSON) { print(json.text) }
