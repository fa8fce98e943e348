internal import CZlib

/// Unpacks gzip (RFC 1952), of one member or several, as it comes. Not `Sendable`.
final class Gunzip {
    /// On the heap, because zlib remembers where it is.
    private let stream: UnsafeMutablePointer<z_stream>
    private var input: [UInt8] = []
    private var offset = 0
    private var isInMember = false
    private var hasMember = false
    /// Output that found no room may be waiting.
    private var mayHaveMore = false

    init() throws(InventoryProblem) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard thaw_zlib_gunzip_init(stream) == Z_OK else {
            stream.deallocate()
            throw InventoryProblem(reason: "zlib has no memory")
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Gives it the next bytes. What it was given before must have been read to the end.
    func take(_ bytes: [UInt8]) {
        input = bytes
        offset = 0
    }

    /// Unpacks into `output`, and answers how many bytes; nil when all of the input is unpacked.
    func read(into output: inout [UInt8]) throws(InventoryProblem) -> Int? {
        while offset < input.count || mayHaveMore {
            let (code, count) = inflateOnce(&output)
            switch code {
            case Z_OK: break
            // It wants more input.
            case Z_BUF_ERROR: mayHaveMore = false
            case Z_STREAM_END:
                (isInMember, hasMember, mayHaveMore) = (false, true, false)
                inflateReset(stream)
            default:
                let words = stream.pointee.msg.map { String(cString: $0) } ?? "zlib error \(code)"
                throw InventoryProblem(reason: "the compressed data is damaged, or none: \(words)")
            }
            if count > 0 { return count }
        }
        return nil
    }

    /// To be called after the last byte.
    func finish() throws(InventoryProblem) {
        guard hasMember, !isInMember else { throw InventoryProblem(reason: "the compressed data ends early") }
    }

    private func inflateOnce(_ output: inout [UInt8]) -> (code: Int32, count: Int) {
        let room = output.count
        let (rest, code) = output.withUnsafeMutableBufferPointer { output in
            input.withUnsafeBufferPointer { input in
                // SAFETY: zlib only reads what `next_in` points at, and keeps neither pointer beyond the call.
                stream.pointee.next_in = input.baseAddress.map { UnsafeMutablePointer(mutating: $0 + offset) }
                stream.pointee.avail_in = UInt32(input.count - offset)
                stream.pointee.next_out = output.baseAddress
                stream.pointee.avail_out = UInt32(room)
                let code = inflate(stream, Z_NO_FLUSH)
                return (stream.pointee.avail_out, code)
            }
        }
        let left = Int(stream.pointee.avail_in)
        if left < input.count - offset { isInMember = true }
        offset = input.count - left
        mayHaveMore = rest == 0
        return (code, room - Int(rest))
    }
}
