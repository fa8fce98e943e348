import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Upload
import Wire

@testable import Filesystem

@Suite("files that are changed through the mount")
struct WritingTests {
    @Test("attributes that no store would take are refused, before they keep the content from being stored")
    func largeAttribute() async throws {
        let fixture = try Fixture()
        let (node, file) = try await fixture.create("f")
        try await fixture.filesystem.write(file.handle, offset: 0, [1, 2, 3], caller: .unknown)
        await #expect(throws: FileError.noSpace) {
            try await fixture.filesystem.setExtendedAttribute(
                node.inode, "user.large", value: Array(repeating: 7, count: 8192), create: false, replace: false,
                caller: .unknown)
        }
        try await fixture.filesystem.flush(file.handle, caller: .unknown)
        #expect(fixture.store.content(ObjectKey("f")) == [1, 2, 3])
        #expect(fixture.store.headers(ObjectKey("f"))?.metadata.values.allSatisfy { $0.count < 100 } ?? false)
    }
}

extension Fixture {
    /// Makes a file in the mount's root, open for writing.
    func create(_ name: String) async throws -> (node: Node, file: OpenedFile) {
        try await filesystem.create(
            parent: Filesystem.rootInode, name: Array(name.utf8), NewFile(permissions: 0o644, uid: 0, gid: 0),
            OpenMode(writes: true), isExclusive: false, caller: .unknown)
    }
}
