internal import CThaw
internal import Glibc

/// An open file of this machine, closed when the last who holds it lets go.
package final class LocalFile: Sendable {
    package let descriptor: Int32

    /// Takes the descriptor over.
    package init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Reads until the buffer is full or the file ends; answers how many bytes that were, or the errno.
    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Result<Int, ErrnoError> {
        var count = 0
        while count < buffer.count, let base = buffer.baseAddress {
            let step = pread(descriptor, base + count, buffer.count - count, off_t(offset) + count)
            if step < 0 {
                if errno == EINTR { continue }
                return .failure(ErrnoError(code: errno))
            }
            if step == 0 { break }
            count += step
        }
        return .success(count)
    }

    /// Writes all the bytes, or answers the errno.
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Result<Void, ErrnoError> {
        var count = 0
        while count < bytes.count, let base = bytes.baseAddress {
            let step = pwrite(descriptor, base + count, bytes.count - count, off_t(offset) + count)
            if step < 0 {
                if errno == EINTR { continue }
                return .failure(ErrnoError(code: errno))
            }
            count += step
        }
        return .success(())
    }
}

extension LocalFile {
    /// Gives the disk these bytes back; they read as zeros from then on. The file stays as long as it is.
    package func punch(_ range: Range<UInt64>) throws(ErrnoError) {
        guard
            thaw_punch_hole(descriptor, off_t(range.lowerBound), off_t(range.upperBound - range.lowerBound)) == 0
        else { throw ErrnoError(code: errno) }
    }
}

/// What a system call left in `errno`.
package struct ErrnoError: Error, Equatable, Sendable {
    package let code: Int32

    package init(code: Int32) { self.code = code }
}

extension ErrnoError: CustomStringConvertible {
    package var description: String { errorText(code) }
}

/// Bytes to be sent.
package enum Payload: Sendable {
    case bytes([UInt8])
    /// These of a local file, read as they are sent.
    case file(LocalFile, Range<UInt64>)

    package var sizeBytes: UInt64 {
        switch self {
        case .bytes(let bytes): UInt64(bytes.count)
        case .file(_, let range): UInt64(range.count)
        }
    }
}

extension ErrnoError {
    /// The disk, or what this user may have of it, is full.
    package var isNoSpace: Bool { code == ENOSPC || code == EDQUOT }
}
