import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting

@testable import Filesystem

@Suite("inodes that are too many for memory")
struct InodeLimitTests {
    private let keys = (0..<200).map { "d/k\(1000 + $0)" }

    /// A mount that may have 20 inodes in memory, whose kernel has looked at all names of `d`; which are on disk.
    private func walked(_ fixture: Fixture) async throws -> UInt64 {
        let directory = try #require(try await fixture.lookup("d"))
        #expect(try await fixture.names(of: directory.inode, plus: true).count == 200)
        fixture.settle()
        #expect(fixture.filesystem.inodes.count <= 20)
        return directory.inode
    }

    private func number(_ index: Int, in directory: UInt64) -> UInt64 {
        InodeNumber.of(Array("k\(1000 + index)".utf8), parent: directory)
    }

    @Test("one that is asked for by number is known again, without asking the store")
    func woken() async throws {
        let fixture = try Fixture(keys, inodesMax: 20)
        let directory = try await walked(fixture)
        let calls = fixture.store.calls.count
        for index in 0..<200 {
            let node = try await fixture.filesystem.attributes(number(index, in: directory))
            #expect(node.sizeBytes == 7 && node.kind == .file)
        }
        #expect(fixture.store.calls.count == calls)
        #expect(await eventually { fixture.filesystem.inodes.count <= 20 })
    }

    @Test("one of a number that the kernel does not know is not")
    func unknown() async throws {
        let fixture = try Fixture(keys, inodesMax: 20)
        let directory = try await walked(fixture)
        await #expect(throws: FileError.stale) { try await fixture.filesystem.attributes(number(200, in: directory)) }
    }

    @Test("lookups count, wherever the inode was when they were made")
    func counted() async throws {
        let fixture = try Fixture(keys, inodesMax: 20)
        let directory = try await walked(fixture)
        // A second walk: one lookup more of each, of which the first is on disk.
        _ = try await fixture.names(of: directory, plus: true)
        let (first, last) = (number(0, in: directory), number(199, in: directory))
        for number in [first, last] {
            fixture.filesystem.forget(number, count: 1)
            fixture.settle()
            #expect(fixture.filesystem.inodes[number] != nil)
            fixture.filesystem.forget(number, count: 1)
            fixture.settle()
            #expect(fixture.filesystem.inodes[number] == nil)
        }
    }

    @Test("what the kernel forgets is forgotten on disk too")
    func forgotten() async throws {
        let fixture = try Fixture(keys, inodesMax: 20)
        let directory = try await walked(fixture)
        for index in 0..<200 { fixture.filesystem.forget(number(index, in: directory), count: 1) }
        fixture.settle()
        // The root and the directory.
        #expect(fixture.filesystem.inodes.count == 2)
        let left = Mutex(0)
        await fixture.filesystem.inodes.forEachIdle(in: [directory]) { names in left.withLock { $0 += names.count } }
        #expect(left.withLock { $0 } == 0)
    }

    @Test("what is open, and directories, stay in memory")
    func kept() async throws {
        let fixture = try Fixture(["e/x", "f/x"] + keys, inodesMax: 20)
        let directory = try #require(try await fixture.lookup("d"))
        let others = [try #require(try await fixture.lookup("e")), try #require(try await fixture.lookup("f"))]
        let file = try #require(try await fixture.lookup("k1000", in: directory.inode))
        let opened = try await fixture.filesystem.open(file.inode, caller: .unknown)
        _ = try await walked(fixture)
        let kept = fixture.filesystem.inodes.withLock { Set($0.keys) }
        #expect(kept.isSuperset(of: [file.inode] + others.map(\.inode)))
        let record = try #require(fixture.filesystem.inodes[file.inode]?.record)
        #expect(record.sizeBytes == 7)
        fixture.filesystem.close(opened.handle)
    }

    @Test("one that was read and is opened again keeps its pages")
    func reopened() async throws {
        let fixture = try Fixture(keys, inodesMax: 20)
        let directory = try #require(try await fixture.lookup("d"))
        let file = try #require(try await fixture.lookup("k1000", in: directory.inode))
        let opened = try await fixture.filesystem.open(file.inode, caller: .unknown)
        #expect(!opened.keepsCache)
        fixture.filesystem.close(opened.handle)
        _ = try await walked(fixture)
        #expect(fixture.filesystem.inodes.withLock { $0[file.inode] == nil })
        // Nor is the store asked once more whether so small a file is a symbolic link; also when its name was looked up
        // before, and the inode that it has since is united with the one on disk.
        let calls = fixture.store.calls.count
        let again = try await fixture.filesystem.open(file.inode, caller: .unknown)
        #expect(again.keepsCache)
        fixture.filesystem.close(again.handle)
        _ = try await walked(fixture)
        _ = try await fixture.names(of: directory.inode, plus: true)
        let united = try await fixture.filesystem.open(file.inode, caller: .unknown)
        #expect(united.keepsCache)
        fixture.filesystem.close(united.handle)
        #expect(fixture.store.calls.count == calls)
    }

    @Test("what a reader of the directory still has of a file does not undo what was learned of it")
    func outOfDate() async throws {
        let fixture = try Fixture(keys, inodesMax: 20)
        let directory = try #require(try await fixture.lookup("d"))
        let handle = try fixture.filesystem.openDirectory(directory.inode)
        let first = try await fixture.page(handle, from: 2, room: 10, plus: true)
        let file = try #require(try await fixture.lookup("k1100", in: directory.inode))
        fixture.store.put("d/k1100", Array(repeating: 7, count: 50))
        _ = try await fixture.filesystem.head(Array("k1100".utf8), in: try #require(fixture.directory(directory.inode)))
        _ = try await walked(fixture)
        #expect(fixture.filesystem.inodes.withLock { $0[file.inode] == nil })
        let offset = try #require(first.last).next
        var given: Node?
        _ = fixture.filesystem.fill(handle, from: offset, countsLookups: true) { entry in
            if entry.node.inode == file.inode { given = entry.node }
            return true
        }
        // The kernel gets what the reader had, and is to ask at once.
        #expect(given?.sizeBytes == 7 && given?.checkedAt == .epoch)
        #expect(try await fixture.filesystem.attributes(file.inode).sizeBytes == 50)
    }

    @Test("a lookup while the kernel takes another back is not lost")
    func atOnce() async throws {
        let fixture = try Fixture(keys, inodesMax: 1000)
        let filesystem = fixture.filesystem
        let directory = try #require(try await fixture.lookup("d"))
        _ = try await fixture.names(of: directory.inode, plus: true)
        let number = number(0, in: directory.inode)
        #expect(await lookUpAndForget(number, in: directory.inode, filesystem) == 0)
        #expect(filesystem.inodes[number]?.lookups == 1)
        filesystem.forget(number, count: 1)
        #expect(filesystem.inodes[number] == nil)
        // Now each may be the last, and drops the inode beside others that come.
        #expect(await lookUpAndForget(number, in: directory.inode, filesystem) == 0)
        #expect(filesystem.inodes[number] == nil)
    }

    /// Looks `k1000` up and takes that back, many times at once. Answers how often the inode was not there in between.
    private func lookUpAndForget(_ number: UInt64, in directory: UInt64, _ filesystem: Filesystem) async -> Int {
        let name = Array("k1000".utf8)
        return await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var lost = 0
                    for _ in 0..<2000 {
                        guard case .found = name.withUnsafeBytes({
                            filesystem.lookupAtHand(parent: directory, name: $0)
                        }) else { continue }
                        if filesystem.inodes[number] == nil { lost += 1 }
                        filesystem.forget(number, count: 1)
                    }
                    return lost
                }
            }
            return await group.reduce(0, +)
        }
    }

    @Test("one on disk is renamed and removed like any other")
    func changed() async throws {
        let fixture = try Fixture(keys, inodesMax: 20)
        let directory = try await walked(fixture)
        let filesystem = fixture.filesystem
        let (moved, removed) = (number(0, in: directory), number(1, in: directory))
        try await filesystem.rename(
            parent: directory, name: Array("k1000".utf8), newParent: 1, newName: Array("z".utf8), .replaced)
        try await filesystem.unlink(parent: directory, name: Array("k1001".utf8))
        #expect(filesystem.inodes[moved]?.key == ObjectKey("z"))
        #expect(filesystem.inodes[removed]?.isRemoved == true)
        _ = try await fixture.names(of: directory, plus: true)
        fixture.settle()
        #expect(filesystem.inodes[moved]?.key == ObjectKey("z"))
        #expect(try await fixture.lookup("z")?.inode == moved)
        #expect(try await fixture.lookup("k1001", in: directory) == nil)
    }

    @Test("the kernel is told to forget all names of a directory, wherever their inodes are")
    func refreshed() async throws {
        let fixture = try Fixture(keys, inodesMax: 20)
        let directory = try await walked(fixture)
        let told = Mutex<[String]>([])
        let kernel = KernelCache(
            forgetAttributes: { _ in }, forgetContent: { _ in },
            forgetName: { home, name in
                guard home == directory else { return }
                told.withLock { $0.append(String(decoding: name, as: UTF8.self)) }
            },
            waitUntilTold: {})
        fixture.filesystem.kernelCache.value = kernel
        await fixture.filesystem.forgetNames()
        let names = Set((0..<200).map { "k\(1000 + $0)" })
        #expect(await eventually { told.withLock { Set($0) } == names })
    }

    @Test("a disk that takes none leaves all of them in memory")
    func failing() async throws {
        let fixture = try Fixture(keys, inodesMax: 20, idlePagesMax: 2)
        let directory = try #require(try await fixture.lookup("d"))
        #expect(try await fixture.names(of: directory.inode, plus: true).count == 200)
        fixture.settle()
        for index in 0..<200 { #expect(fixture.filesystem.inodes[number(index, in: directory.inode)] != nil) }
    }
}
