internal import Glibc

/// Splits CSV (RFC 4180) into rows as it comes: quoted fields with doubled quotes, commas and newlines within; rows end
/// in LF or CRLF, the last one perhaps in nothing. Empty lines are passed over.
struct CSVReader {
    /// A field without its quotes.
    struct Field {
        var start: Int
        var end: Int
        /// Quotes inside are doubled.
        var hasDoubledQuotes: Bool
    }

    /// Valid in the call that it is given to only.
    struct Row {
        let bytes: UnsafeRawBufferPointer
        let fields: [Field]

        subscript(index: Int) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: bytes[fields[index].start..<fields[index].end])
        }
    }

    /// Rows that were read.
    private(set) var rows = 0
    private var pending: [UInt8] = []
    private var fields: [Field] = []
    /// A row is a key and a few words.
    private static let rowBytesMax = 1 << 20

    private static let quote = UInt8(ascii: "\"")
    private static let comma = UInt8(ascii: ",")
    private static let lineFeed = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")

    /// Gives every row that is complete now to `take`.
    mutating func feed(
        _ bytes: some Collection<UInt8>, isLast: Bool, _ take: (Row) throws(InventoryProblem) -> Void
    ) throws(InventoryProblem) {
        pending.append(contentsOf: bytes)
        let text = pending
        let end: Result<Int, InventoryProblem> = text.withUnsafeBytes { bytes in
            do throws(InventoryProblem) { return .success(try eachRow(bytes, isLast, take)) } catch {
                return .failure(error)
            }
        }
        pending = Array(text[(try end.get())...])
        guard pending.count <= Self.rowBytesMax else { throw problem("it does not end") }
    }

    private mutating func eachRow(
        _ bytes: UnsafeRawBufferPointer, _ isLast: Bool, _ take: (Row) throws(InventoryProblem) -> Void
    ) throws(InventoryProblem) -> Int {
        var position = 0
        do throws(InventoryProblem) {
            while position < bytes.count, let next = try scan(bytes, position, isLast) {
                position = next
                if fields.count == 1, fields[0].start == fields[0].end { continue }
                try take(Row(bytes: bytes, fields: fields))
                rows += 1
            }
        } catch {
            throw problem(error.reason)
        }
        return position
    }

    /// Finds the fields of the row at `start`. Answers where the next one begins; nil when more bytes are needed.
    private mutating func scan(
        _ bytes: UnsafeRawBufferPointer, _ start: Int, _ isLast: Bool
    ) throws(InventoryProblem) -> Int? {
        fields.removeAll(keepingCapacity: true)
        var position = start
        while true {
            if position < bytes.count, bytes[position] == Self.quote {
                guard let field = quoted(bytes, position + 1, isLast) else {
                    guard !isLast else { throw InventoryProblem(reason: "it ends within quotes") }
                    return nil
                }
                fields.append(field)
                position = field.end + 1
            } else {
                var end = position
                while end < bytes.count, !Self.endsField(bytes[end]) { end += 1 }
                fields.append(Field(start: position, end: end, hasDoubledQuotes: false))
                position = end
            }
            guard position < bytes.count else { return isLast ? position : nil }
            switch bytes[position] {
            case Self.comma: position += 1
            case Self.lineFeed: return position + 1
            case Self.carriageReturn:
                guard position + 1 < bytes.count else { return isLast ? position + 1 : nil }
                guard bytes[position + 1] == Self.lineFeed else { fallthrough }
                return position + 2
            default:
                throw InventoryProblem(reason: "it goes on after a quoted field, or has a bare carriage return")
            }
        }
    }

    /// The field whose opening quote is before `start`; nil when its end is not there yet.
    private func quoted(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ isLast: Bool) -> Field? {
        var field = Field(start: start, end: start, hasDoubledQuotes: false)
        while true {
            guard let end = Self.firstQuote(bytes, field.end) else { return nil }
            field.end = end
            // The next byte tells whether this one ends the field.
            guard end + 1 < bytes.count else { return isLast ? field : nil }
            guard bytes[end + 1] == Self.quote else { return field }
            field.hasDoubledQuotes = true
            field.end += 2
        }
    }

    private static func firstQuote(_ bytes: UnsafeRawBufferPointer, _ start: Int) -> Int? {
        guard let base = bytes.baseAddress, start < bytes.count,
            let found = memchr(base + start, Int32(quote), bytes.count - start)
        else { return nil }
        return base.distance(to: found)
    }

    private static func endsField(_ byte: UInt8) -> Bool {
        byte == comma || byte == lineFeed || byte == carriageReturn
    }

    private func problem(_ reason: String) -> InventoryProblem {
        InventoryProblem(reason: "row \(rows + 1): \(reason)")
    }
}
