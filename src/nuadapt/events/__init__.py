"""What an event is: columns with units, sparse pixel maps, the HDF5 store and its splits. NumPy and h5py only."""
