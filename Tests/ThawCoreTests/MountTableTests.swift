import Testing
import ThawCore

@Suite("the mount table")
struct MountTableTests {
    @Test("a path is on the mount whose mountpoint is nearest above it")
    func containing() throws {
        let proc = try #require(MountTable.entry(at: "/proc"))
        #expect(proc.type == "proc")
        #expect(MountTable.entry(containing: "/proc/self/mountinfo") == proc)
        #expect(MountTable.entry(containing: "/proc") == proc)
        #expect(MountTable.entry(containing: "/no such directory/x") == MountTable.entry(at: "/"))
        #expect(MountTable.entry(at: "/proc/self") == nil)
    }

    @Test("what is no mount of FUSE has no owner, and is not ours")
    func owner() throws {
        let proc = try #require(MountTable.entry(at: "/proc"))
        #expect(proc.ownerID == nil)
        #expect(!proc.isThawfs)
    }
}
