import Glibc
import NIOCore

/// Hands out the bytes of an object piece by piece, the cheapest way its bodies allow: views of memory, or
/// regions of files that the kernel sends by itself.
final class ContentReader {
    private var segments: ArraySlice<Segment>
    private let blobs: BlobStore
    private let lease: BlobStore.Lease
    /// False where bytes must pass through the process (TLS).
    private let sendsFiles: Bool
    /// The file of the first segment. Closed by whoever writes its last region, or by `close`.
    private var file: NIOFileHandle?

    /// `lease`: from before the segments were looked up.
    init(_ segments: [Segment], blobs: BlobStore, lease: BlobStore.Lease, sendsFiles: Bool) {
        self.segments = segments[...]
        self.blobs = blobs
        self.lease = lease
        self.sendsFiles = sendsFiles
    }

    struct Piece {
        var data: IOData
        /// To be closed when the piece is written.
        var finished: NIOFileHandle?
    }

    private static let bufferBytes = 1 << 20

    /// The next piece, of at most `max` bytes; nil at the end.
    func next(max: Int) throws(ProviderError) -> Piece? {
        guard var segment = segments.first else { return nil }
        let want = Int(min(UInt64(max), segment.length))
        var piece: Piece
        switch segment.source {
        case .synthetic(let seed):
            piece = Piece(
                data: .byteBuffer(SyntheticContent.slice(seed: seed, offset: segment.offset, max: want))
            )
        case .blob(let blob) where blobs.directory == nil:
            piece = Piece(data: .byteBuffer(blobs.slice(blob, offset: segment.offset, max: want)))
        case .blob(let blob):
            piece = try filePiece(blob, segment.offset, want)
        }
        let count = UInt64(piece.data.readableBytes)
        guard count > 0 else { throw .internalError("a body is shorter than its object") }
        segment.offset += count
        segment.length -= count
        if segment.length > 0 {
            segments[segments.startIndex] = segment
        } else {
            segments.removeFirst()
            piece.finished = file
            file = nil
        }
        return piece
    }

    func close() {
        Self.close(file)
        file = nil
    }

    static func close(_ file: NIOFileHandle?) {
        // The descriptor is open and ours; there is nothing to do about an error of close(2) on a file only
        // read.
        try? file?.close()
    }

    private func filePiece(_ blob: Int64, _ offset: UInt64, _ want: Int) throws(ProviderError) -> Piece {
        let handle = try opened(blob)
        if sendsFiles {
            return Piece(
                data: .fileRegion(
                    FileRegion(fileHandle: handle, readerIndex: Int(offset), endIndex: Int(offset) + want)
                )
            )
        }
        var buffer = ByteBuffer()
        let wanted = min(want, Self.bufferBytes)
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) { bytes in
            let count = try? handle.withUnsafeFileDescriptor {
                pread($0, bytes.baseAddress, wanted, off_t(offset))
            }
            return max(0, count ?? 0)
        }
        return Piece(data: .byteBuffer(buffer))
    }

    private func opened(_ blob: Int64) throws(ProviderError) -> NIOFileHandle {
        if let file { return file }
        let descriptor = open(blobs.path(blob), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw .internalError("cannot read \(blobs.path(blob)): \(String(cString: strerror(errno)))")
        }
        let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: descriptor)
        file = handle
        return handle
    }
}
