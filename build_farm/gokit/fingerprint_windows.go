package keywright

import "syscall"

// machineID is MachineGuid of the registry, which Windows makes when it is installed.
func machineID() string {
	path, err := syscall.UTF16PtrFromString(`SOFTWARE\Microsoft\Cryptography`)
	if err != nil {
		return ""
	}
	var key syscall.Handle
	const readKey64 = syscall.KEY_READ | syscall.KEY_WOW64_64KEY
	if syscall.RegOpenKeyEx(syscall.HKEY_LOCAL_MACHINE, path, 0, readKey64, &key) != nil {
		return ""
	}
	defer syscall.RegCloseKey(key)
	return registryText(key, "MachineGuid")
}

func registryText(key syscall.Handle, name string) string {
	namePointer, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return ""
	}
	// A GUID is 36 characters; the registry is asked for bytes, two a character.
	var buffer [128]byte
	length, kind := uint32(len(buffer)), uint32(0)
	err = syscall.RegQueryValueEx(key, namePointer, nil, &kind, &buffer[0], &length)
	if err != nil || kind != syscall.REG_SZ {
		return ""
	}
	characters := make([]uint16, 0, len(buffer)/2)
	for index := uint32(0); index+1 < length; index += 2 {
		characters = append(characters, uint16(buffer[index])|uint16(buffer[index+1])<<8)
	}
	return "machine-guid:" + syscall.UTF16ToString(characters)
}
