internal import Database
internal import ThawCore
internal import Wire

/// The columns that hold a file's attributes, wherever a table has them. NULL is what is not stored.
let attributeColumns = "mode, uid, gid, mtime, extended"

extension Statement {
    /// Reads `attributeColumns` from this column on.
    func fileAttributes(_ first: Int) -> FileAttributes {
        FileAttributes(
            mode: optionalUInt32(first), uid: optionalUInt32(first + 1), gid: optionalUInt32(first + 2),
            modified: isNull(first + 3) ? nil : Timestamp(nanoseconds: int64(first + 3)),
            extended: isNull(first + 4) ? [:] : ExtendedColumn.decode(blob(first + 4)))
    }

    /// Binds `attributeColumns` from this parameter on; all of them NULL for nil.
    func bind(_ attributes: FileAttributes?, at first: Int) throws(DatabaseError) {
        for (index, number) in [attributes?.mode, attributes?.uid, attributes?.gid].enumerated() {
            try bind(number.map(Int64.init), at: first + index)
        }
        try bind(attributes?.modified?.nanoseconds, at: first + 3)
        try bind(attributes.flatMap { ExtendedColumn.encode($0.extended) }, at: first + 4)
    }

    private func optionalUInt32(_ column: Int) -> UInt32? {
        isNull(column) ? nil : UInt32(truncatingIfNeeded: int64(column))
    }
}

/// Extended attributes in one column: JSON of their names and, in Base64, their values. Equal ones are equal bytes.
private enum ExtendedColumn {
    /// Nil for none.
    static func encode(_ extended: [String: [UInt8]]) -> [UInt8]? {
        extended.isEmpty ? nil : Array(JSON.object(extended.mapValues { .string(Base64.encode($0)) }).text.utf8)
    }

    static func decode(_ bytes: [UInt8]) -> [String: [UInt8]] {
        guard case .object(let members) = JSON(bytes) else { return [:] }
        return members.compactMapValues { $0.string.flatMap { Base64.decode($0) } }
    }
}
