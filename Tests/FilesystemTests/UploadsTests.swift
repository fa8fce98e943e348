import Glibc
import Metadata
import Testing
import ThawCore
import ThawTesting
import Upload
import Wire

@testable import Filesystem

@Suite("what an earlier mount has accepted")
struct UploadsTests {
    @Test("nothing is removed when the journal was begun anew: it is kept, and listed")
    func lost() async throws {
        let fixture = try Fixture()
        let staging = fixture.directory.path + "/staging"
        let file = LocalFile(descriptor: open(staging + "/1-1", O_WRONLY | O_CREAT, 0o600))
        try [UInt8](repeating: 7, count: 5).withUnsafeBytes { try file.write($0, at: 0).get() }
        try await fixture.filesystem.resumeUploads()
        let listed = await fixture.filesystem.uploads()
        #expect(listed.map(\.stagingPath) == [staging + "/lost/1-1"] && listed.first?.stage == .kept)
        #expect(access(staging + "/lost/1-1", F_OK) == 0)
    }

    @Test("what was accepted and cannot be opened is listed as failed, and no mount forgets it")
    func stranded() async throws {
        let first = try Fixture()
        try await first.writer.journal(
            PendingUpload(
                key: ObjectKey("a"), staging: "gone", sizeBytes: 3, extents: [0..<3], attributes: FileAttributes(),
                acceptedAt: .now()))
        let second = try Fixture([], in: first)
        try await second.filesystem.resumeUploads()
        let listed = await second.filesystem.uploads()
        #expect(listed.map(\.key) == [ObjectKey("a")] && listed.first?.stage == .failed)
        #expect(listed.first?.error != nil)
    }
}
