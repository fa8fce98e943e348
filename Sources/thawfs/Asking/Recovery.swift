import Glibc
import Restore
import ThawCore
import Upload
import Wire

/// Copies what was accepted and not stored out of the staging area, below a directory, each file under its key.
struct Recovery {
    /// What became of one file.
    struct Outcome {
        let upload: UploadSummary
        /// For people: what is no text in it is replaced.
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
    /// Paths that this run has used.
    private var taken: Set<[UInt8]> = []
    private static let pieceBytes = 1 << 20

    init(directory: String) { self.directory = directory }

    mutating func recover(_ upload: UploadSummary) -> Outcome {
        let names = Self.names(of: upload.key)
        var path = Array(([Array(directory.utf8)] + names).joined(separator: [UInt8(ascii: "/")]))
        do throws(ErrnoError) {
            let source = try Self.open(Array(upload.stagingPath.utf8), O_RDONLY)
            try Self.makeDirectories(directory)
            var parent = Array(directory.utf8)
            for name in names.dropLast() { parent = try Self.directory(name, in: parent) }
            path = unused(names.last ?? Self.emptyName, in: parent)
            let target = try Self.open(path, O_WRONLY | O_CREAT | O_EXCL)
            do throws(ErrnoError) { try Self.copy(upload, from: source, to: target) } catch {
                unlink(Self.cPath(path))
                throw error
            }
            return Outcome(upload: upload, path: Self.text(path))
        } catch {
            return Outcome(upload: upload, path: Self.text(path), failure: Self.text(error, Self.text(path), upload))
        }
    }

    private static func text(_ path: [UInt8]) -> String { String(decoding: path, as: UTF8.self) }
    private static func cPath(_ path: [UInt8]) -> [CChar] { path.map { CChar(bitPattern: $0) } + [0] }

    private static func text(_ error: ErrnoError, _ path: String, _ upload: UploadSummary) -> String {
        switch error.code {
        case EEXIST: "\(path) is there already; nothing is overwritten"
        case ENOENT: "\(upload.stagingPath) is gone: it has been stored meanwhile, or somebody removed it"
        default: "\(path): \(error)"
        }
    }

    // MARK: Names

    /// No key has these: `%` is always followed by two digits there.
    private static let emptyName = Array("%".utf8)
    private static func numbered(_ name: [UInt8], _ number: Int) -> [UInt8] { name + Array("%~\(number)".utf8) }

    /// The key's segments as names of files: as they are, but for `%`, and for what a path would take for something
    /// else. A longer one than a name can be ends in its digest.
    static func names(of key: ObjectKey) -> [[UInt8]] {
        key.bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { segment in
            if segment.isEmpty { return emptyName }
            let isDots = segment.count <= 2 && segment.allSatisfy { $0 == UInt8(ascii: ".") }
            let name = segment.flatMap { byte -> [UInt8] in
                switch byte {
                case UInt8(ascii: "%"): Array("%25".utf8)
                case UInt8(ascii: ".") where isDots: Array("%2E".utf8)
                case 0: Array("%00".utf8)
                default: [byte]
                }
            }
            // Room is left for a number.
            if name.count <= 240 { return name }
            return name.prefix(220) + Array("%~\(Digest.sha256Hex(Array(segment)).prefix(16))".utf8)
        }
    }

    /// A path that this run has not used and no directory has: keys may be `a` and `a/b`, and files of one key many.
    private mutating func unused(_ name: [UInt8], in directory: [UInt8]) -> [UInt8] {
        var path = directory + [UInt8(ascii: "/")] + name
        var number = 1
        while taken.contains(path) || Self.isDirectory(path) {
            number += 1
            path = directory + [UInt8(ascii: "/")] + Self.numbered(name, number)
        }
        taken.insert(path)
        return path
    }

    /// Makes the directory, by another name where a file has this one.
    private static func directory(_ name: [UInt8], in parent: [UInt8]) throws(ErrnoError) -> [UInt8] {
        var path = parent + [UInt8(ascii: "/")] + name
        var number = 1
        while mkdir(cPath(path), 0o700) != 0 {
            guard errno == EEXIST else { throw ErrnoError(code: errno) }
            if isDirectory(path) { break }
            number += 1
            path = parent + [UInt8(ascii: "/")] + numbered(name, number)
        }
        return path
    }

    private static func isDirectory(_ path: [UInt8]) -> Bool {
        var status = stat()
        return lstat(cPath(path), &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    // MARK: Files

    private static func makeDirectories(_ path: String) throws(ErrnoError) {
        var partial = ""
        for name in path.split(separator: "/") {
            partial += "/" + name
            guard mkdir(partial, 0o700) == 0 || errno == EEXIST else { throw ErrnoError(code: errno) }
        }
    }

    /// What is made is its owner's alone: nobody else may have been allowed to read it where it was to be.
    private static func open(_ path: [UInt8], _ flags: Int32) throws(ErrnoError) -> LocalFile {
        let descriptor = Glibc.open(cPath(path), flags | O_CLOEXEC | O_NOFOLLOW, 0o600)
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
                let room = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
                let count = try source.read(into: room, at: offset).get()
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
