import Glibc
import Testing
import ThawCore
import ThawTesting
import Upload

@testable import thawfs

@Suite("copying out what is not stored")
struct RecoveryTests {
    private let place: TemporaryDirectory

    init() throws { place = try TemporaryDirectory() }

    private func stage(_ bytes: [UInt8]) throws -> String {
        let path = place.path + "/staged"
        try write(bytes, path)
        return path
    }

    private func write(_ bytes: [UInt8], _ path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        try bytes.withUnsafeBytes { try LocalFile(descriptor: descriptor).write($0, at: 0).get() }
    }

    private func read(_ path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY)
        try #require(descriptor >= 0)
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let file = LocalFile(descriptor: descriptor)
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0).get() }
        return Array(bytes[..<count])
    }

    private func recover(
        _ key: String, _ bytes: [UInt8], sizeBytes: UInt64? = nil, ranges: [Range<UInt64>]? = nil
    ) throws -> Recovery.Outcome {
        let upload = UploadSummary(
            key: ObjectKey(key), sizeBytes: sizeBytes ?? UInt64(bytes.count), sentBytes: 0, stage: .failed,
            since: .now(), stagingPath: try stage(bytes), isComplete: ranges == nil, ranges: ranges ?? [])
        var recovery = Recovery(directory: place.path + "/out")
        return recovery.recover(upload)
    }

    @Test("a whole file is copied under its key, as long as it is")
    func whole() throws {
        let outcome = try recover("a/b c", [1, 2, 3], sizeBytes: 5)
        #expect(outcome.failure == nil)
        #expect(outcome.path == place.path + "/out/a/b c")
        #expect(try read(outcome.path) == [1, 2, 3, 0, 0])
        #expect(outcome.line == "a/b c -> \(outcome.path), 5 B")
    }

    @Test("of a changed object only the changes are copied, and it is said which bytes they are")
    func changes() throws {
        let outcome = try recover("big", [9, 1, 2, 9, 9, 5, 9], sizeBytes: 9, ranges: [1..<3, 5..<6])
        #expect(try read(outcome.path) == [0, 1, 2, 0, 0, 5, 0, 0, 0])
        #expect(outcome.line.hasSuffix("9 B, only the bytes 1-2, 5-5: the rest is the object's, or zeros"))
    }

    @Test("nothing is overwritten")
    func existing() throws {
        let first = try recover("f", [1])
        let second = try recover("f", [2])
        #expect(second.failure == "\(first.path) is there already; nothing is overwritten")
        #expect(try read(first.path) == [1])
    }

    @Test("a file that has gone meanwhile is said to have")
    func gone() throws {
        let upload = UploadSummary(
            key: ObjectKey("f"), sizeBytes: 1, sentBytes: 0, stage: .waiting, since: .now(),
            stagingPath: place.path + "/nothing", isComplete: true)
        var recovery = Recovery(directory: place.path)
        let outcome = recovery.recover(upload)
        #expect(outcome.failure?.hasPrefix("\(place.path)/nothing is gone") == true)
        #expect(access(outcome.path, F_OK) == -1)
    }

    @Test(
        "no key leads out of the directory",
        arguments: [
            ("../../etc/passwd", ["%2E%2E", "%2E%2E", "etc", "passwd"]), ("/a//b", ["%", "a", "%", "b"]),
            ("a/./b", ["a", "%2E", "b"]), ("100%", ["100%25"]), ("...", ["..."]),
            ("dir/", ["dir", "%"]), ("plain.txt", ["plain.txt"]),
        ])
    func awkward(key: String, names: [String]) {
        #expect(Recovery.names(of: ObjectKey(key)) == names.map { Array($0.utf8) })
    }

    @Test("a segment that is no text keeps its bytes, and one that is too long ends in its digest")
    func bytes() {
        #expect(Recovery.names(of: ObjectKey([0xff, 0x0a])) == [[0xff, 0x0a]])
        let long = [1, 2].map { Recovery.names(of: ObjectKey(String(repeating: "x", count: 300) + "\($0)"))[0] }
        #expect(long[0] != long[1] && long.allSatisfy { $0.count <= 250 })
    }

    @Test("files of one key, and of a key that is another's directory, lie beside each other, for their owner only")
    func collisions() throws {
        var recovery = Recovery(directory: place.path + "/out")
        let paths = try ["a", "a/b", "a", "c/d", "c"].map { key in
            let upload = UploadSummary(
                key: ObjectKey(key), sizeBytes: 1, sentBytes: 0, stage: .kept, since: .now(),
                stagingPath: try stage([7]), isComplete: true)
            let outcome = recovery.recover(upload)
            #expect(outcome.failure == nil)
            var status = stat()
            #expect(lstat(outcome.path, &status) == 0 && status.st_mode & 0o777 == 0o600)
            return String(outcome.path.dropFirst(place.path.utf8.count))
        }
        #expect(paths == ["/out/a", "/out/a%~2/b", "/out/a%~3", "/out/c/d", "/out/c%~2"])
        var status = stat()
        #expect(lstat(place.path + "/out/c", &status) == 0 && status.st_mode & 0o777 == 0o700)
    }
}
