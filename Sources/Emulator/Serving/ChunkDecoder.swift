import NIOCore

/// Takes `aws-chunked` bodies apart: `{hex length}[;extension]`, the bytes, and trailers after the last
/// chunk.
struct ChunkDecoder {
    private enum State {
        case header
        case data(remaining: Int)
        case dataEnd
        case trailers
        case done
    }

    private static let lineMax = 8192

    private var state = State.header
    private var pending = ByteBuffer()
    /// Nil leaves signatures of chunks unread.
    private var signatures: ChunkSignatures?
    /// Of the chunk that is being read.
    private var signature: String?
    /// Names in lowercase; complete when `isComplete`.
    private(set) var trailers: [(name: String, value: String)] = []

    init(signatures: ChunkSignatures? = nil) { self.signatures = signatures }

    var isComplete: Bool { if case .done = state { true } else { false } }

    /// Takes in what came from the wire and answers the content in it.
    mutating func decode(_ buffer: ByteBuffer) throws(ProviderError) -> [ByteBuffer] {
        pending.writeImmutableBuffer(buffer)
        var content: [ByteBuffer] = []
        while true {
            switch state {
            case .header:
                guard let line = try line() else { return content }
                let length = try chunkLength(line)
                state = length == 0 ? .trailers : .data(remaining: length)
                if length == 0 { try signatures?.endChunk(signature) }
            case .data(let remaining):
                guard pending.readableBytes > 0,
                    let piece = pending.readSlice(length: min(remaining, pending.readableBytes))
                else { return content }
                signatures?.update(piece)
                content.append(piece)
                let left = remaining - piece.readableBytes
                state = left == 0 ? .dataEnd : .data(remaining: left)
            case .dataEnd:
                guard let line = try line() else { return content }
                guard line.isEmpty else { throw Self.malformed }
                try signatures?.endChunk(signature)
                state = .header
            case .trailers:
                guard let line = try line() else { return content }
                if line.isEmpty {
                    if !trailers.isEmpty { try signatures?.endTrailers(trailers) }
                    state = .done
                } else {
                    let pair = line.split(separator: ":", maxSplits: 1)
                    guard pair.count == 2 else { throw Self.malformed }
                    trailers.append((pair[0].lowercased(), String(pair[1].drop { $0 == " " })))
                }
            case .done:
                guard pending.readableBytes == 0 else { throw Self.malformed }
                return content
            }
        }
    }

    /// Reads a chunk's first line, its signature too.
    private mutating func chunkLength(_ line: String) throws(ProviderError) -> Int {
        let parts = line.split(separator: ";", maxSplits: 1)
        guard let length = parts.first.flatMap({ Int($0, radix: 16) }), length >= 0 else {
            throw Self.malformed
        }
        let name = "chunk-signature="
        signature = parts.count > 1 && parts[1].hasPrefix(name) ? String(parts[1].dropFirst(name.count)) : nil
        return length
    }

    /// A line without its CR LF; nil while it is incomplete.
    private mutating func line() throws(ProviderError) -> String? {
        let view = pending.readableBytesView
        guard let end = view.firstIndex(of: UInt8(ascii: "\n")) else {
            guard pending.readableBytes <= Self.lineMax else { throw Self.malformed }
            return nil
        }
        let line = view[..<end].last == UInt8(ascii: "\r") ? view[..<end].dropLast() : view[..<end]
        let text = String(decoding: line, as: UTF8.self)
        pending.moveReaderIndex(to: end + 1)
        pending.discardReadBytes()
        return text
    }

    private static let malformed = ProviderError(
        400,
        "IncompleteBody",
        "The aws-chunked body is malformed."
    )
}
