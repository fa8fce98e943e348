internal import Metadata
internal import ThawCore
internal import Wire

/// Turns the rows of a report into what the metadata store takes in. Ten million of them are one import: nothing here
/// makes a `String` or an array for each.
struct InventoryDecoder {
    private let columns: InventoryColumns
    private let blankIsPlus: Bool
    /// Of objects whose report says nothing of it.
    private let untold: LoadBatch.ArchiveStatus?
    /// The first is that of objects whose class is not told.
    private var classes: [[UInt8]]
    private var latestClass = 0
    /// Seconds since the epoch at which days begin, by their digits: a report has few days and many rows.
    private var days: [UInt32: Int64] = [:]
    private(set) var batch: LoadBatch

    init(_ columns: InventoryColumns, _ dialect: Dialect) {
        self.columns = columns
        blankIsPlus = dialect.inventoryHasBlankAsPlus
        untold = dialect == .cos ? .unlisted : nil
        let online = StorageClass.known(in: dialect).first ?? StorageClass("")
        classes = [Array(online.name.utf8)]
        batch = LoadBatch(classes: [online])
    }

    /// The rows since the last time.
    mutating func takeBatch() -> LoadBatch {
        defer { batch = LoadBatch(classes: batch.classes) }
        return batch
    }

    mutating func add(_ row: CSVReader.Row) throws(InventoryProblem) {
        guard row.fields.count == columns.count else {
            throw InventoryProblem(reason: "it has \(row.fields.count) fields, and fileSchema \(columns.count)")
        }
        if let column = columns.isLatest, !Self.isTrue(row[column]) { return }
        if let column = columns.isDeleteMarker, Self.isTrue(row[column]) { return }
        guard let sizeBytes = Self.number(row[columns.sizeBytes]) else { throw problem("Size", row[columns.sizeBytes]) }
        guard let modified = time(row[columns.modified]) else {
            throw problem("LastModifiedDate", row[columns.modified])
        }
        let start = batch.bytes.count
        try addKey(row)
        let keyEnd = batch.bytes.count
        addETag(row)
        batch.rows.append(
            LoadBatch.Row(
                keyBytes: keyEnd - start, etagBytes: batch.bytes.count - keyEnd, sizeBytes: sizeBytes,
                modified: modified, storageClass: columns.storageClass.map { classIndex(row[$0]) } ?? 0,
                archiveStatus: columns.accessTier.flatMap { Self.archiveStatus(row[$0]) } ?? untold))
    }

    private func problem(_ column: String, _ field: UnsafeRawBufferPointer) -> InventoryProblem {
        InventoryProblem(reason: "\(column) cannot be read: “\(ObjectKey(field.prefix(100)))”")
    }

    // MARK: Fields

    private mutating func addKey(_ row: CSVReader.Row) throws(InventoryProblem) {
        let field = row[columns.key]
        var index = 0
        while index < field.count {
            let byte = field[index]
            index += 1
            switch byte {
            case UInt8(ascii: "%"):
                guard index + 1 < field.count, let high = Hex.value(field[index]), let low = Hex.value(field[index + 1])
                else { throw problem("Key", field) }
                batch.bytes.append(high << 4 | low)
                index += 2
            case UInt8(ascii: "+") where blankIsPlus: batch.bytes.append(UInt8(ascii: " "))
            case UInt8(ascii: "\"") where row.fields[columns.key].hasDoubledQuotes:
                batch.bytes.append(byte)
                index += 1
            default: batch.bytes.append(byte)
            }
        }
        guard !field.isEmpty else { throw problem("Key", field) }
    }

    /// Reports have it without the quotes that the store's replies have.
    private mutating func addETag(_ row: CSVReader.Row) {
        let quote = UInt8(ascii: "\"")
        batch.bytes.append(quote)
        if row.fields[columns.etag].hasDoubledQuotes {
            batch.bytes.append(contentsOf: row[columns.etag].lazy.filter { $0 != quote })
        } else {
            batch.bytes.append(contentsOf: row[columns.etag])
        }
        batch.bytes.append(quote)
    }

    private mutating func classIndex(_ field: UnsafeRawBufferPointer) -> Int {
        if field.isEmpty { return 0 }
        if !Self.equals(field, classes[latestClass]) {
            if let index = classes.firstIndex(where: { Self.equals(field, $0) }) {
                latestClass = index
            } else {
                classes.append(Array(field))
                batch.classes.append(StorageClass(String(decoding: field, as: UTF8.self)))
                latestClass = classes.count - 1
            }
        }
        return latestClass
    }

    private static func equals(_ field: UnsafeRawBufferPointer, _ bytes: [UInt8]) -> Bool {
        field.count == bytes.count && bytes.withUnsafeBytes { $0.elementsEqual(field) }
    }

    /// What a HEAD calls the tiers that are frozen (S3 User Guide, "Amazon S3 Inventory list"; API Reference,
    /// "HeadObject", `x-amz-archive-status`).
    private static func archiveStatus(_ field: UnsafeRawBufferPointer) -> LoadBatch.ArchiveStatus? {
        switch field.count {
        case 7 where field.elementsEqual("ARCHIVE".utf8): .archiveAccess
        case 12 where field.elementsEqual("DEEP_ARCHIVE".utf8): .deepArchiveAccess
        default: nil
        }
    }

    /// S3 and OSS write `true`, older reports `True`.
    private static func isTrue(_ field: UnsafeRawBufferPointer) -> Bool { field.first.map { $0 | 0x20 } == 0x74 }

    private static func number(_ field: UnsafeRawBufferPointer) -> UInt64? {
        guard (1...19).contains(field.count) else { return nil }
        var number: UInt64 = 0
        for byte in field {
            guard let digit = digit(byte) else { return nil }
            number = number * 10 + digit
        }
        return number
    }

    private static func digit(_ byte: UInt8) -> UInt64? {
        byte >= 0x30 && byte <= 0x39 ? UInt64(byte - 0x30) : nil
    }

    /// `2024-10-23T05:25:24.000Z`, with or without the fraction, which counts as none; OSS's documents have
    /// `2025-04-14T07-06-00Z` as well.
    private mutating func time(_ field: UnsafeRawBufferPointer) -> Timestamp? {
        guard field.count >= 20, field.last == UInt8(ascii: "Z"), field[10] == UInt8(ascii: "T"),
            let hour = Self.pair(field, 11), let minute = Self.pair(field, 14), let second = Self.pair(field, 17),
            let day = day(field), hour < 24, minute < 60, second <= 60
        else { return nil }
        return Timestamp(seconds: day + Int64(hour * 3600 + minute * 60 + second))
    }

    private static func pair(_ field: UnsafeRawBufferPointer, _ index: Int) -> UInt64? {
        guard let tens = digit(field[index]), let ones = digit(field[index + 1]) else { return nil }
        return tens * 10 + ones
    }

    private mutating func day(_ field: UnsafeRawBufferPointer) -> Int64? {
        guard let century = Self.pair(field, 0), let year = Self.pair(field, 2), let month = Self.pair(field, 5),
            let number = Self.pair(field, 8)
        else { return nil }
        let digits = UInt32(century * 1_000_000 + year * 10_000 + month * 100 + number)
        if let known = days[digits] { return known }
        let text = String(decoding: field[..<10], as: UTF8.self) + "T00:00:00Z"
        guard let day = WireDate.parseISO8601(text)?.seconds else { return nil }
        days[digits] = day
        return day
    }
}

extension Dialect {
    /// Whether `+` in a report's keys is a blank. S3's reports are written as its listings with `encoding-type=url`
    /// are, OSS's have `%20`, so a plus there is a plus. OSS only says "URL-encoded": that it means what its listings
    /// do is assumed.
    var inventoryHasBlankAsPlus: Bool { self != .oss }
}
