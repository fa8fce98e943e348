import Glibc
import Restore
import ThawCore
import Upload

/// Copies what was accepted and not stored out of the staging area, below a directory, each file under its key.
struct Recovery {
    /// What became of one file.
    struct Outcome {
        let upload: UploadSummary
        let path: String
        /// Nil when the file is there.
        var failure: String?

        var json: JSON {
            guard case .object(var members) = upload.jsonWithRanges else { return .null }
            members["path"] = .string(path)
            members["failure"] = JSON(failure)
            return .object(members)
        }

        var line: String {
            if let failure { return "\(upload.key): \(failure)" }
            let line = "\(upload.key) -> \(path), \(Units.text(bytes: upload.sizeBytes))"
            if upload.isComplete { return line }
            let ranges = upload.ranges.filter { !$0.isEmpty }.map { "\($0.lowerBound)-\($0.upperBound - 1)" }
            return line + ", only the bytes \(ranges.joined(separator: ", ")): the rest is the object's, or zeros"
        }
    }

    /// Absolute.
    let directory: String
    private static let pieceBytes = 1 << 20

    func recover(_ upload: UploadSummary) -> Outcome {
        let path = ([directory] + Self.names(of: upload.key)).joined(separator: "/")
        do throws(ErrnoError) {
            try makeDirectories(above: path)
            let source = try Self.open(upload.stagingPath, O_RDONLY)
            let target = try Self.open(path, O_WRONLY | O_CREAT | O_EXCL)
            do throws(ErrnoError) { try Self.copy(upload, from: source, to: target) } catch {
                unlink(path)
                throw error
            }
            return Outcome(upload: upload, path: path)
        } catch {
            return Outcome(upload: upload, path: path, failure: Self.text(error, path, upload))
        }
    }

    private static func text(_ error: ErrnoError, _ path: String, _ upload: UploadSummary) -> String {
        switch error.code {
        case EEXIST: "\(path) is there already; nothing is overwritten"
        case ENOENT: "\(upload.stagingPath) is gone: it has been stored meanwhile, or somebody removed it"
        default: "\(path): \(error)"
        }
    }

    /// The key's segments as names of files: those that a path has no room for, or would take for something else, are
    /// percent-encoded.
    static func names(of key: ObjectKey) -> [String] {
        key.bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { segment in
            let name = String(decoding: segment, as: UTF8.self)
            switch name {
            case "": return "%"
            case ".", "..": return segment.map { _ in "%2E" }.joined()
            default: break
            }
            if Array(name.utf8) == Array(segment), !segment.contains(0) { return name }
            return segment.map { "%" + ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined()
        }
    }

    private func makeDirectories(above path: String) throws(ErrnoError) {
        var partial = ""
        for name in path.split(separator: "/").dropLast() {
            partial += "/" + name
            guard mkdir(partial, 0o777) == 0 || errno == EEXIST else { throw ErrnoError(code: errno) }
        }
    }

    private static func open(_ path: String, _ flags: Int32) throws(ErrnoError) -> LocalFile {
        let descriptor = Glibc.open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard descriptor >= 0 else { throw ErrnoError(code: errno) }
        return LocalFile(descriptor: descriptor)
    }

    /// Zeros stay holes.
    private static func copy(
        _ upload: UploadSummary, from source: LocalFile, to target: LocalFile
    ) throws(ErrnoError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 16)
        defer { buffer.deallocate() }
        for range in upload.isComplete ? [0..<upload.sizeBytes] : upload.ranges {
            var offset = range.lowerBound
            while offset < range.upperBound {
                let wanted = Int(min(range.upperBound - offset, UInt64(pieceBytes)))
                let count = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]), at: offset)
                    .get()
                if count == 0 { break }
                let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                if bytes.contains(where: { $0 != 0 }) { try target.write(bytes, at: offset).get() }
                offset += UInt64(count)
            }
        }
        guard ftruncate(target.descriptor, off_t(upload.sizeBytes)) == 0, fsync(target.descriptor) == 0 else {
            throw ErrnoError(code: errno)
        }
    }
}
