import Glibc
import Testing
import ThawCore
import ThawTesting

@testable import Upload

@Suite("the staging area")
struct StagingAreaTests {
    private let place: TemporaryDirectory
    private var path: String { place.path + "/staging" }

    init() throws { place = try TemporaryDirectory() }

    private func open() throws -> StagingArea { try StagingArea(directory: path, bytesMax: 1 << 20, keepFreeBytes: 0) }

    private func write(_ name: String, _ bytes: [UInt8] = [1]) throws {
        let file = LocalFile(descriptor: Glibc.open(path + "/" + name, O_WRONLY | O_CREAT, 0o600))
        try bytes.withUnsafeBytes { try file.write($0, at: 0).get() }
    }

    @Test("one that others can reach, or a link, is refused")
    func foreign() throws {
        _ = try open()
        chmod(path, 0o750)
        #expect(throws: StagingFault.self) { try open() }
        chmod(path, 0o700)
        _ = try open()
        #expect(rename(path, path + "-there") == 0 && symlink(path + "-there", path) == 0)
        #expect(throws: StagingFault.self) { try open() }
    }

    @Test("a link, a file with two names, and what is no file are not opened")
    func foreignFiles() throws {
        let area = try open()
        try write("file")
        _ = try area.file(named: "file")
        symlink(path + "/file", path + "/link")
        mkfifo(path + "/fifo", 0o600)
        mkdir(path + "/directory", 0o700)
        for name in ["link", "fifo", "directory", "none"] {
            #expect(throws: UploadError.self) { try area.file(named: name) }
        }
        link(path + "/file", path + "/second")
        #expect(throws: UploadError.self) { try area.file(named: "file") }
    }

    @Test("what is set aside has content and no name in the journal; no sweep removes it")
    func lost() throws {
        let area = try open()
        try write("known")
        try write("unknown", [1, 2, 3])
        try write("empty", [])
        #expect(try area.setAside(allBut: ["known"]) == [path + "/lost/unknown"])
        area.sweep(keeping: ["known"])
        #expect(access(path + "/known", F_OK) == 0 && access(path + "/empty", F_OK) != 0)
        let lost = StagingArea.lost(in: path)
        #expect(lost.map(\.stagingPath) == [path + "/lost/unknown"] && lost.first?.sizeBytes == 3)
        #expect(lost.first?.stage == .kept)
    }
}
