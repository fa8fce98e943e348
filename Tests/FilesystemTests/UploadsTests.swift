import Glibc
import Metadata
import ObjectStore
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

    @Test("what is removed, or renamed, before it was stored again leaves nothing of what a crash had let through")
    func ghosts() async throws {
        let first = try Fixture()
        for (name, staging) in [("removed", "1-1"), ("renamed", "2-1")] {
            let file = LocalFile(
                descriptor: open(first.directory.path + "/staging/" + staging, O_WRONLY | O_CREAT, 0o600))
            try [UInt8](repeating: 7, count: 3).withUnsafeBytes { try file.write($0, at: 0).get() }
            try await first.writer.journal(
                PendingUpload(
                    key: ObjectKey(name), staging: staging, sizeBytes: 3, extents: [0..<3],
                    attributes: FileAttributes(), condition: .isAbsent, acceptedAt: .now()))
            first.store.put(ObjectKey(name), [7, 7, 7], metadata: ["thaw-staging": staging])
        }
        first.store.script { call throws(StoreError) in
            if case .describe = call { throw StoreError(.unavailable, code: "Down", message: "") }
        }
        let second = try Fixture([], in: first)
        try await second.filesystem.resumeUploads()
        #expect(await eventually { await second.filesystem.uploads().allSatisfy { $0.error != nil } })
        try await second.filesystem.unlink(parent: Filesystem.rootInode, name: Array("removed".utf8))
        try await second.filesystem.rename(
            parent: Filesystem.rootInode, name: Array("renamed".utf8), newParent: Filesystem.rootInode,
            newName: Array("new".utf8), .replaced)
        first.store.script { _ in }
        #expect(await eventually { first.store.keys == [ObjectKey("new")] })
    }
}
