/// Cuts what comes in pieces into lines.
struct LineBuffer {
    private let bytesMax: Int
    private var partial: [UInt8] = []

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// The lines that this piece completes, without their ends; what is left waits for the next piece.
    mutating func append(_ piece: some Collection<UInt8>) throws(ControlError) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var rest = piece[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            try take(rest[..<end])
            lines.append(partial)
            partial = []
            rest = rest[rest.index(after: end)...]
        }
        try take(rest)
        return lines
    }

    private mutating func take(_ piece: some Collection<UInt8>) throws(ControlError) {
        guard partial.count + piece.count <= bytesMax else { throw .lineTooLong(bytesMax: bytesMax) }
        partial += piece
    }
}
